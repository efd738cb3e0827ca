"""Samples to strokes, punctures, density, glides and passes of an area. No I/O; any number of pens side by side.

What is counted, and how sure it is:

- **Stroke**: one needle cycle. **Puncture**: stroke in contact times needles. Both come from the pen's cumulative
  counters, so a lost batch loses detail and never a count. Where a pen senses no contact, it is estimated from the
  motor's current.
- **Glide**: contact and movement in one direction, from where the tip is set down or turns back to where it turns back
  or lifts. A pause does not end it. In circles there is no turning back: a glide lasts as long as the contact.
- **Coverage**: ground that the round tip swept, over the size of the zone, at most 1. Nobody tells the pen where the
  zone's rim is: ground swept beyond it counts too. An optical sensor loses its place at every lift. Within one contact
  ground swept twice counts once, and coverage is measured; across lifts it is an interval, from the least there can be
  (neighbouring rows overlap by no more than 60 %) to the most (they do not overlap at all). It is never drawn as a map.
- **Pass**: the zone covered once in one direction. It is complete when its coverage may have reached the threshold, and
  it ends when the direction changes (by more than 35 degrees, over 15 mm of glides; or between straight and circular)
  or when the tip rests off the skin for 1.2 s.

The pass is disputable in two ways. Who repeats a direction without a rest is counted one pass: to a pen that loses its
place that looks like more overlap. Who rests before the zone is covered, with much overlap, may be counted one too
many: "may have reached" ends an area early rather than late. Practice is on our side: the direction is changed from
pass to pass (horizontal, vertical, oblique), and blood is wiped off between them (general knowledge, not sourced). The
density, which is exact, bounds what either reading can cost.

Without a motion sensor there are glides (each a contact), time in contact and density only.

The way of a sample: `ticks` (50 ms of pen time) -> `contact` (is the tip on skin), `glides` (where it turns), `ground`
(what it swept) -> events, when something is over -> `area` (contacts to passes, with `work`). `counter` leads them.
All before the events is arithmetic on the numbers of a `tip`. In a treatment plain Python runs it as it stands
(`lanes`); for archives the same functions become machine code (`compiled`).
"""

from pen_controller.passes.counter import PassCounter
from pen_controller.passes.figures import Coverage, Family, Figures, Finished, Glide, Pass, Zone

__all__ = ["Coverage", "Family", "Figures", "Finished", "Glide", "Pass", "PassCounter", "Zone"]
