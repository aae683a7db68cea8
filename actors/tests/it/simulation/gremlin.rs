//! What goes wrong around a simulated server by itself: the engine goes away, comes back or restarts, attempts vanish,
//! the disk is full for a while, somebody sets the clock.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::runtime::fake::Fate;
use dogwatch_actors::store::Error;
use dogwatch_actors::store::memory::MemoryStore;

use super::trace::note;
use super::world::World;

/// Between two occasions, at most.
const PAUSE: Duration = Duration::from_secs(10);

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Until it is aborted or the server dies.
pub(super) async fn run(world: Arc<World>, memory: Arc<MemoryStore>) {
    let (random, trace, faults) = (&world.random, &world.trace, world.faults());
    loop {
        tokio::time::sleep(random.up_to(PAUSE)).await;
        if random.chance(faults.engine) {
            match random.below(4) {
                0 => world.engine.go_down(),
                1 => world.engine.come_up(),
                2 => world.engine.restart(Fate::Survive),
                _ => world.engine.restart(random.pick(&[Fate::Survive, Fate::Killed, Fate::HostRestart])),
            }
            note!(trace, "the engine goes, comes or restarts");
        }
        if random.chance(faults.vanish)
            && let Some(key) = world.engine.present().first()
        {
            note!(trace, "{key} vanishes");
            world.engine.vanish(*key);
            world.vanished.lock().insert(*key);
        }
        if random.chance(faults.full) {
            note!(trace, "the disk is full");
            memory.refuse(Some(Error::Full("as the seed wants it".into())));
            tokio::time::sleep(random.up_to(PAUSE * 2)).await;
            memory.refuse(None);
            note!(trace, "the disk has room");
        }
        if random.chance(faults.clock) {
            let wrong_by = random.pick(&[0, 0, 5_000, -5_000, HOUR, -HOUR, YEAR, -YEAR]);
            note!(trace, "the clock is wrong by {wrong_by} ms");
            world.time.set_wrong_by(wrong_by);
            let mut ahead = world.ahead.lock();
            *ahead = wrong_by.max(*ahead);
        }
    }
}
