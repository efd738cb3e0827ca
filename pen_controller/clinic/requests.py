"""What a page may ask for: the bodies of its requests, each a small JSON object. Who asks is never taken from them."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pen_controller.clinic.accounts import NAME, Role
from pen_controller.preparation.answers import AgeBand, Agent, Endpoint, Names, Words

Positive = Annotated[float, Field(gt=0, lt=10_000, allow_inf_nan=False)]
Passes = Annotated[int, Field(ge=1, le=1000)]
Name = Annotated[str, Field(max_length=64)]
Session = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Asked(BaseModel):
    """The body of a request; one without fields is `{}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Credentials(Asked):
    """Who logs in."""

    account: Annotated[str, Field(pattern=NAME.pattern)]
    password: Annotated[str, Field(max_length=200)]


class NewAccount(Credentials):
    """Who may log in from now on."""

    role: Annotated[Role, Field(strict=False)]


class PasswordAsked(Credentials):
    """The password that an account has from now on; `own` is the one of who asks."""

    own: Annotated[str, Field(max_length=200)]


class RoleAsked(Asked):
    """The role that an account has from now on."""

    account: Annotated[str, Field(pattern=NAME.pattern)]
    role: Annotated[Role, Field(strict=False)]


class Url(Asked):
    """One of `Snapshot.found`."""

    url: Annotated[str, Field(max_length=400)]


class CaseAsked(Asked):
    """See `answers.Case`."""

    code: Name
    age_band: AgeBand
    fitzpatrick: Annotated[int, Field(ge=1, le=6)]
    indications: Names
    concerns: Names
    previous_treatment: date | None


class Reason(Asked):
    """Why a precaution is let pass."""

    reason: Words


class ScreeningAsked(Asked):
    """See `answers.Screening`."""

    question: Name
    answer: Literal["yes", "no"]
    override: Reason | None = None


class CheckedAsked(Asked):
    """See `answers.Checked`."""

    step: Name
    value: Agent | None = None


class CartridgeAsked(Asked):
    """See `answers.CartridgeLabel`; lot and expiry may be left to a UDI that has them."""

    lot: Annotated[str, Field(max_length=40)] | None = None
    expiry: date | None = None
    needles: Annotated[int, Field(ge=1, le=1000)]
    udi: Annotated[str, Field(max_length=200)] | None = None


class Scanned(Asked):
    """What a barcode scanner typed."""

    scan: Annotated[str, Field(max_length=200)]


class NoteAsked(Asked):
    """See `answers.Note`."""

    area: Name
    endpoint: Endpoint
    reactions: Names


class CorrectionAsked(Asked):
    """See `answers.Correction`; a body of null takes the record back."""

    of_seq: Annotated[int, Field(ge=1, le=2**53)]
    reason: Words
    body: dict[str, JsonValue] | None


class OverrideAsked(Asked):
    """See `answers.Override`."""

    what: Words
    reason: Words


class AreaAsked(Asked):
    """One area of a plan; a size left out is the area's typical one."""

    area: Name
    depth_mm: Positive
    rate_hz: Positive
    passes: Passes
    size_cm2: Positive | None = None
    indication: Name | None = None


class PlanAsked(Asked):
    """What is to be treated, in this order."""

    areas: Annotated[tuple[AreaAsked, ...], Field(strict=False, min_length=1, max_length=40)]


class TemplateName(Asked):
    """See `plans.Templates`."""

    name: Name


class TemplateAsked(TemplateName):
    """The plan under way is kept by this name."""

    replace: bool = False


class StartAsked(AreaAsked):
    """Start the needles.

    `live` is `Snapshot.live` of the page that operates: it must go on saying that it is alive. With `hold` it must also
    go on saying that a key is held, and the needles come in when it is let go.
    """

    live: Annotated[int, Field(ge=1, le=2**53)]
    hold: bool = False


class ChangeAsked(Asked):
    """Other figures while needles run."""

    depth_mm: Positive
    rate_hz: Positive


class ResumeAsked(Asked):
    """`latch_id` is `Snapshot.pen.latch.id`, which the person was shown; 0 where there was none."""

    latch_id: Annotated[int, Field(ge=0, le=65_535)]


class SessionAsked(Asked):
    """One treatment."""

    session: Session


class ReportAsked(SessionAsked):
    """Its report, in one language."""

    language: Literal["en", "de"] = "en"


class PracticeAsked(Asked):
    """What happens to the simulated pen."""

    happens: Literal["cartridge", "unplug", "button", "reboot"]
