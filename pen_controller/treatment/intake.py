"""Takes in what persons answer in a treatment, on the record before it counts, and says what is still missing.

What is answered stays in the journal: none of it is published.
"""

from datetime import UTC, date, datetime

from pen_controller.config import Config, PlanArea
from pen_controller.config.texts import texts
from pen_controller.limits import CartridgeTag, Limit, Refusal, Request
from pen_controller.pen import Pen
from pen_controller.pen.reported import tag as tag_of
from pen_controller.preparation import PRACTICE, Caution, Missing, Preparation
from pen_controller.preparation import preparation as prepared
from pen_controller.preparation.answers import (
    ANSWERS,
    Answer,
    AnswerError,
    CartridgeLabel,
    Case,
    Correction,
    Tag,
    read_answer,
)
from pen_controller.treatment.minutes import Minutes


class Intake:
    """The answers of one treatment.

    Args:
        minutes: where they are recorded.
        pen: the one that is prepared.
        config: what is asked.
        today: by which a cartridge expires.
        preparation: what was answered before; None asks nothing, but only of a simulated pen (`PRACTICE`).
        otherwise: indication and skin type while there is no case.
    """

    def __init__(
        self,
        minutes: Minutes,
        pen: Pen,
        config: Config,
        today: date,
        preparation: Preparation | None,
        otherwise: tuple[str, int] = ("", 0),
    ) -> None:
        self._indication, self._fitzpatrick = otherwise
        self._minutes, self._pen, self._config, self._today = minutes, pen, config, today
        self.asks = preparation is not None or pen.identity.model != PRACTICE
        """Whether anything must be answered before the needles are armed; False is practice."""
        self.preparation = preparation or Preparation()

    @property
    def case(self) -> Case | None:
        """The case, once it is entered."""
        return self.preparation.case

    @property
    def indication(self) -> str:
        """Of areas that name none."""
        return self._indication or (self.case.indications[0] if self.case else "")

    @property
    def fitzpatrick(self) -> int:
        """Skin type, 1 to 6; the case's goes before any other. 0 where nobody has said: then nothing is allowed."""
        return self.case.fitzpatrick if self.case else self._fitzpatrick

    def request(self, wanted: PlanArea, given_passes: int) -> Request:
        """What to ask the limits for: the passes that are still to come, the one under way among them."""
        return Request(
            wanted.area,
            wanted.indication or self.indication,
            self.fitzpatrick,
            wanted.depth_mm,
            wanted.rate_hz,
            max(1, wanted.passes - given_passes),
            wanted.size_cm2,
        )

    def missing(self, language: str = "en") -> list[Missing]:
        """What keeps the needles from being armed, as far as it can be told without asking the pen."""
        return prepared.missing(self.preparation, self._config, self._today, language=language) if self.asks else []

    def cautions(self, language: str = "en") -> list[Caution]:
        """What forbids nothing, and deserves a second thought."""
        clock = datetime.now(UTC).date()
        return prepared.cautions(self.preparation, self._config, self._today, clock, language=language)

    async def enter(self, answer: Answer) -> int:
        """Take in an answer: recorded first, and on the disk when this returns.

        Needles that run while something is missing by now are stopped.

        Returns:
            Its number in the session, by which a `Correction` names it.

        Raises:
            AnswerError: it does not fit the configuration, or corrects nothing that a person has entered.
            JournalError: it cannot be recorded, and does not count.
            LinkError: the pen does not say which cartridge is in it.
        """
        answer = await (self._corrected(answer) if isinstance(answer, Correction) else self._fitted(answer))
        record = await self._minutes.write(answer.record_kind, answer.model_dump(mode="json"), topic=None)
        self.preparation = self.preparation.taking(answer)
        if self._pen.may_run and self.missing():
            self._pen.stop_now("what was answered now stands against the treatment")
        return record.seq

    def refuse(self, request: Request, cartridge: CartridgeTag | None) -> Refusal | None:
        """Why the needles may not be armed yet, if they may not.

        Args:
            request: what is asked for.
            cartridge: the one that is in the pen now.
        """
        if not self.asks:
            return None
        now = _hex(cartridge) if cartridge else None
        found = prepared.missing(self.preparation, self._config, self._today, cartridge_id=now)
        if self.case and request.indication not in self.case.indications:
            text = texts("en")["missing.indication"].format(item=request.indication)
            found.append(Missing("case", text, prepared.RULE))
        if not found:
            return None
        first, others = found[0], f"; {len(found) - 1} more" if found[1:] else ""
        limit = Limit("preparation", 0.0, "", first.source, "preparation")
        return Refusal(limit, len(found), f"Preparation: {first.text}{others} (preparation: {first.source})")

    async def _fitted(self, answer: Answer) -> Answer:
        """An answer as the configuration has it, a cartridge with what the pen reads of it."""
        answer = prepared.fit(answer, self._config, self._today)
        if not isinstance(answer, CartridgeLabel):
            return answer
        read = tag_of(await self._pen.cartridge())
        tag = read and Tag(cartridge_id=_hex(read), needles=read.needles, expiry=read.expires)
        return answer.model_copy(update={"tag": tag})

    async def _corrected(self, correction: Correction) -> Correction:
        """A correction with what it corrects, and what holds from now on."""
        record = self._minutes.read(correction.of_seq)
        if record is None or record.kind not in ANSWERS or record.kind == Correction.record_kind:
            raise AnswerError(f"correction: record {correction.of_seq} of this treatment is no answer of a person")
        item, body = read_answer(record.kind, record.body).item, None
        if correction.body is not None:
            holds = await self._fitted(read_answer(record.kind, correction.body))
            if holds.item != item:
                raise AnswerError(f"correction: record {correction.of_seq} is about {item}, not {holds.item}")
            body = holds.model_dump(mode="json")
        return correction.model_copy(update={"kind": record.kind, "corrects": item, "body": body})


def _hex(cartridge: CartridgeTag) -> str:
    return f"{cartridge.cartridge_id:016x}"
