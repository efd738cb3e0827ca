"""Depth, and who goes on without a host: H01 and H11; H03, H04, H05, H06, H10."""

from tests.simulation.cases.case import case, stop_at
from tests.simulation.story import CARTRIDGE, REQUEST, STANDARD_US, STROKE_US, Story
from tests.simulation.truth import Kind

# --- H01, H11: depth -------------------------------------------------------------------------------------------------


@case("H01")
def no_deeper_than_approved(story: Story, over: bool) -> None:
    story.ready().start().out(deepest_um=1501.5 if over else 1501.0).home()


@case("H01")
def nothing_without_an_approval(story: Story, over: bool) -> None:
    story.ready(depth_mm=1.6 if over else 1.5).start().home()


@case("H01")
def an_approval_for_elsewhere_counts_from_home(story: Story, over: bool) -> None:
    story.ready().start().deed(Kind.APPROVED, **REQUEST | {"area": "chin", "indication": "acne_scars"})
    if not over:
        story.home().command("arm").start()
    story.out(deepest_um=2000.0).home()


@case("H01")
def a_sensor_wrong_by_little_excuses_as_much(story: Story, over: bool) -> None:
    story.ready().deed(Kind.SENSOR_WRONG, error_um=80.0).start()
    story.out(deepest_um=1582.0 if over else 1581.0).home()


@case("H01")
def a_sensor_right_again_excuses_nothing(story: Story, over: bool) -> None:
    story.ready().deed(Kind.SENSOR_WRONG, error_um=-80.0).start().home().deed(Kind.SENSOR_WRONG, error_um=0.0)
    story.command("arm").start().out(deepest_um=1502.0 if over else 1501.0).home()


@case("H11")
def drift_is_caught(story: Story, over: bool) -> None:
    story.ready().start().renew().deed(Kind.SENSOR_WRONG, error_um=-100.1).out(deepest_um=1900.0)
    story.wait(100_000).renew()
    stop_at(story, STANDARD_US - 100_000, over)


@case("H11")
def drift_of_a_tenth_is_not_yet_wrong(story: Story, over: bool) -> None:
    story.ready().deed(Kind.SENSOR_WRONG, error_um=100.1 if over else 100.0).start()
    story.wait(100_000).renew().wait(200_000).home()


@case("H11")
def drift_that_goes_back_in_time(story: Story, over: bool) -> None:
    story.ready().deed(Kind.SENSOR_WRONG, error_um=200.0).start().wait(100_000).renew()
    if not over:
        story.deed(Kind.SENSOR_WRONG, error_um=0.0)
    story.wait(200_000).home()


@case("H11")
def an_end_in_order_before_drift_is_caught(story: Story, over: bool) -> None:
    story.ready().deed(Kind.SENSOR_WRONG, error_um=200.0).start().wait(100_000)
    if not over:
        story.deed(Kind.HALT_SENT, name="disarm")
    story.home().deed(Kind.APPROVED, **REQUEST).command("arm").start().home()


# --- H03, H04, H05, H06, H10: standard -------------------------------------------------------------------------------


@case("H03")
def host_killed(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew().deed(Kind.HOST_KILLED), STANDARD_US, over)


@case("H04")
def host_stalled(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew().deed(Kind.HOST_STALLED), STANDARD_US, over)


@case("H04")
def a_renewal_of_a_host_that_stands_still(story: Story, over: bool) -> None:
    story.ready().start().renew().deed(Kind.HOST_STALLED).wait(100_000).renew(age_us=100_000 - over)
    story.wait(STANDARD_US).home()


@case("H05")
def radio_gone(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew().deed(Kind.LINK_LOST, by="radio"), STANDARD_US, over)


@case("H05")
def renewals_lost(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew(), STANDARD_US, over)


@case("H06")
def cable_pulled(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew().deed(Kind.LINK_LOST, by="cable"), STANDARD_US, over)


@case("H06")
def a_cable_plugged_in_again_brings_no_lease(story: Story, over: bool) -> None:
    story.ready().start().renew().deed(Kind.LINK_LOST, by="cable").wait(STROKE_US).deed(Kind.LINK_BACK).renew()
    stop_at(story, STANDARD_US - STROKE_US, over)


@case("H10")
def pen_rebooted(story: Story, over: bool) -> None:
    stop_at(story.ready().start().renew().deed(Kind.PEN_REBOOTED, back_us=0), STANDARD_US, over)


@case("H05")
def a_lease_does_not_outlast_a_reboot(story: Story, over: bool) -> None:
    story.ready().deed(Kind.PEN_REBOOTED, back_us=0).wait(STROKE_US).deed(Kind.RESUMED).command("claim").command("arm")
    if not over:
        story.renew()
    story.command("start").out().home()


@case("H05")
def a_renewal_in_the_lease_extends_it(story: Story, over: bool) -> None:
    story.ready().start().renew().wait(250_000 + over).renew()
    story.wait(STANDARD_US).home()


@case("H05")
def a_renewal_that_quotes_old_time_is_void(story: Story, over: bool) -> None:
    story.ready().start().renew().wait(100_000).renew(quoted_us=500_000 + over)
    story.wait(STANDARD_US).home()


@case("H05")
def a_claim_brings_no_lease(story: Story, over: bool) -> None:
    story.deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE).deed(Kind.PREPARED).command("claim")
    if not over:
        story.renew()
    story.deed(Kind.APPROVED, **REQUEST).command("arm").command("start").out().wait(1).home()
