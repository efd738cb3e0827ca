"""Why a broker lets us not in, or is not whom we expect, in words that say what to do."""

import re
import ssl

BAD_PASSWORD, NOT_AUTHORIZED = 134, 135  # MQTT's reason codes of a refused login; those of 3.1.1 are told as these
OTHER_VERSION = 132
NOT_YET_VALID, EXPIRED, OTHER_NAME, OTHER_ADDRESS = 9, 10, 62, 64  # OpenSSL's codes for a certificate

_OF_CERTIFICATE = {
    NOT_YET_VALID: "its certificate is not valid yet: set this machine's clock",
    EXPIRED: "its certificate has expired: have it renewed, or set this machine's clock",
    OTHER_NAME: "its certificate is for another name: use the name it was issued for",
    OTHER_ADDRESS: "its certificate is for another address: use the name it was issued for",
}
_ALERT = re.compile(r"alert ((?:bad|unsupported|unknown|revoked)? ?(?:certificate|ca)\b[a-z ]*|access denied)")


class AccessError(Exception):
    """The broker lets us not in, or is not whom we expect: one line that says what to do. Trying again is of no use."""


def refusal(error: Exception, heard: str, *, user: str | None, has_certificate: bool) -> str | None:
    """Return why a connection was refused for good; None if to try again may help.

    Args:
        error: Of aiomqtt, from connecting.
        heard: What its client logged last: after the handshake a refusal of TLS is told nowhere else.
        user: As whom we came.
        has_certificate: Whether we showed one.
    """
    cause = error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        unknown = f"nobody we trust has signed its certificate ({cause.verify_message}): name its CA as ca_file"
        return _OF_CERTIFICATE.get(cause.verify_code, f"{unknown} in a broker file")
    code = getattr(getattr(error, "rc", None), "value", None)
    if code == OTHER_VERSION:
        return "it does not speak MQTT 5, which sharing needs (NATS does not): let one recorder alone record here"
    if code in (BAD_PASSWORD, NOT_AUTHORIZED):
        if user:
            return f"it refuses user {user!r}: check the name and the password"
        if has_certificate:
            return "it knows nobody of our certificate's name: have it let in, or another certificate issued"
        return "it wants to know who we are: name a user and password_file, or cert_file, in a broker file"
    if alert := _ALERT.search(f"{error} {heard}"):
        if "required" in alert[1]:
            return "it wants a certificate: name cert_file and key_file in a broker file"
        return f"it refuses our certificate ({alert[1].strip()}): have its CA issue a new one"
    return None
