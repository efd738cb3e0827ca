"""`pen run`: the areas of a plan, treated one after the other at a terminal."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pen_controller.config import Config, Plan
from pen_controller.errors import PenError
from pen_controller.preparation import Preparation
from pen_controller.service import broker_for, treatment_service
from pen_controller.terminal.console import NobodyError, Typist, report, run_plan
from pen_controller.terminal.questionnaire import load_answers, prepare
from pen_controller.treatment.outcomes import RefusedError, StoppedError


async def treat_plan(
    plan: Plan,
    config: Config,
    pen: str,
    journal: Path,
    console: Console,
    *,
    prepared: Path | None,
    broker: str | None,
    publish: bool,
    yes: bool,
    resume: str | None,
    new: bool,
    home_assistant: bool | None,
) -> tuple[dict[str, Any], Exception | None]:
    """Treat a plan, with a person at the terminal who prepares, decides and resumes.

    Args:
        plan: the areas, in their order.
        config: the clinic's configuration.
        pen: its URL.
        journal: the file of the record.
        console: where it is asked and told.
        prepared: a file of answers to what must be known before needles are armed; else it is asked.
        broker: where to publish (`service.broker_for`); None runs an embedded one.
        publish: whether to publish at all.
        yes: do not ask before each area.
        resume: the session to take up.
        new: begin another treatment, though the pen's last one was never ended.
        home_assistant: show the pen there, or take it out again; None leaves it as it is.

    Returns:
        The figures of the treatment, and what ended it early, if anything did.
    """
    answers = load_answers(prepared) if prepared else []
    person = Typist(console, go_on=yes)
    ended: Exception | None = None
    async with contextlib.AsyncExitStack() as stack:
        say = partial(console.print, highlight=False, soft_wrap=True)
        url = await stack.enter_async_context(broker_for(broker, say)) if publish else None
        async with treatment_service(
            pen,
            journal,
            config,
            broker=url,
            indication=plan.indication,
            fitzpatrick=plan.fitzpatrick,
            preparation=Preparation() if prepared else None,
            resume=resume,
            leave_unended=new,
            home_assistant=home_assistant,
            say=say,
        ) as service:
            complete = False
            try:
                await prepare(service.treatment.intake, plan, config, answers, person.ask, say)
                await service.treatment.plan(plan.areas)
                complete = await run_plan(service, plan, person, console)
            except (PenError, RefusedError, NobodyError) as error:
                ended = error
                # A person who ends it raises `StoppedError`; a refusal at the start is no treatment under way.
                if not isinstance(error, StoppedError) and (resume or not isinstance(error, RefusedError)):
                    service.treatment.stay_open()
        how = {
            "complete": complete,
            "published": service.all_published,
            "trouble": service.trouble,
            "ended": str(ended) if ended else None,
        }
        return report(service) | how, ended
