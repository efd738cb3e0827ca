// Asks a person who they are, for one broker: a form that is there only while that broker wants to know.

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Returns a form; `signIn` is called with user, password, and whether the tab is to keep them. */
export function signInForm({ url, name }, signIn) {
  const user = field("User", { type: "text", autocomplete: "username", required: true });
  const password = field("Password", { type: "password", autocomplete: "current-password" });
  const keep = field("Stay signed in until this tab is closed", { type: "checkbox" });
  const form = element("form", { className: "sign-in" });
  form.setAttribute("aria-label", `Sign in to ${name}`);
  form.append(element("p", { className: "refusal", role: "alert" }), user.label, password.label, keep.label, element("button", { textContent: "Sign in" }));
  if (isOpen(url)) {
    form.append(element("p", { textContent: "Not encrypted: others in the network can read the password. wss:// is." }));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(user.input.value, password.input.value, keep.input.checked);
    password.input.value = "";
  });
  return form;
}

/** Whether what is sent to a broker can be read on its way. */
function isOpen(url) {
  const { protocol, hostname } = new URL(url);
  return protocol === "ws:" && !LOOPBACK.has(hostname);
}

function field(text, properties) {
  const input = element("input", properties);
  const label = element("label", {});
  label.append(...(properties.type === "checkbox" ? [input, ` ${text}`] : [text, input]));
  return { label, input };
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
