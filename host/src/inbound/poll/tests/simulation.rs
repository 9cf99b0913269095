//! The runner is killed at any point, thousands of times: no event is lost, none comes twice, and no cursor is ahead of
//! its events.

use crate::inbound::poll::tests::*;
use crate::store::Store as _;

/// Events with times, many of them equal, that come about one after the other. Pages are small, so that a burst is many of
/// them and ends inside a time.
#[derive(Debug)]
struct World {
    /// Times, in order; an event's name is its place.
    times: Vec<u64>,
    /// How many have come about.
    there: usize,
    page: usize,
}

impl World {
    fn come(&mut self, more: usize) {
        self.there = self.there.saturating_add(more).min(self.times.len());
    }

    /// What a plugin does: it asks for everything from its cursor's time on, leaves out what it had of that time, and
    /// keeps time and number for the next page.
    fn answer(&self, asked: &Asked) -> Answer {
        let (time, skip) = match &asked.cursor {
            None => (0, 0),
            Some(cursor) => {
                let (time, skip) = cursor.split_once(' ').unwrap();
                (time.parse::<u64>().unwrap(), skip.parse::<usize>().unwrap())
            }
        };
        let visible = self.times[..self.there].iter().enumerate().filter(|(_, at)| **at >= time);
        let found: Vec<(usize, u64)> = visible.map(|(name, at)| (name, *at)).skip(skip).take(self.page).collect();
        let Some((_, last)) = found.last() else { return Ok((Vec::new(), None, false)) };
        let of_last = found.iter().filter(|(_, at)| at == last).count();
        let skip = if *last == time { skip + of_last } else { of_last };
        let names = found.iter().map(|(name, _)| name.to_string()).collect();
        Ok((names, Some(format!("{last} {skip}")), found.len() == self.page))
    }
}

/// How many events a cursor says are behind it.
fn behind(world: &World, cursor: Option<&str>) -> usize {
    let Some((time, skip)) = cursor.and_then(|cursor| cursor.split_once(' ')) else { return 0 };
    let time: u64 = time.parse().unwrap();
    world.times.iter().filter(|at| **at < time).count() + skip.parse::<usize>().unwrap()
}

#[tokio::test]
async fn killed_at_any_point_nothing_is_lost_and_no_cursor_is_ahead() {
    let mut kills = 0u32;
    for seed in 0..200 {
        kills += one(seed).await;
    }
    assert!(kills > 5_000, "only {kills} of 12,000 died during a run");
}

async fn one(seed: u32) -> u32 {
    let die = ManualClock::new(START, u64::from(seed));
    let roll = |most: u64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 0 to most")]
        let rolled = ((die.jitter() + 1.0) / 2.0 * most as f64) as u64;
        rolled.min(most - 1)
    };

    let mut at = 0;
    let times: Vec<u64> = (0..40)
        .map(|_| {
            at += roll(3) / 2;
            at
        })
        .collect();
    let world = Arc::new(Mutex::new(World { times, there: 0, page: 1 + roll(4) as usize }));
    let plugin = {
        let world = world.clone();
        let mut breaks = roll(5) == 0;
        move |asked: &Asked| {
            breaks = !breaks && asked.id.len().is_multiple_of(3);
            let world = world.lock().unwrap();
            if breaks { Err(Error::new(Kind::Transient, "no luck")) } else { world.answer(asked) }
        }
    };
    let scene = Scene::of(plugin).policy("first = 'all'\npages_max = 4");
    let mut kills = 0;
    for _ in 0..60 {
        // One process or two live for a while, and then the power goes.
        let pollers: Vec<_> = (0..=roll(2)).map(|_| scene.poller()).collect();
        let mut runs: Vec<_> = pollers.iter().map(|poller| Box::pin(poller.run(scene.stop.subscribe()))).collect();
        for _ in 0..roll(120) {
            let which = roll(runs.len() as u64) as usize;
            assert!(poll_once(runs[which].as_mut()).is_none(), "a run ended by itself");
            if roll(4) == 0 {
                scene.clock.advance(roll(20_000));
            }
        }
        drop(runs);
        // Whoever died during a run still has the lease.
        let now = scene.clock.now();
        kills += u32::from(!scene.store.lease("poll acme things", "a probe", now, now).await.unwrap());
        let more = roll(3) as usize;
        world.lock().unwrap().come(more);
        holds(&scene, &world, seed).await;
    }
    // In the end everything is there.
    world.lock().unwrap().come(usize::MAX);
    let poller = scene.poller();
    for _ in 0..60 {
        scene.clock.advance(60_000);
        scene.turn(&poller).await;
    }
    holds(&scene, &world, seed).await;
    assert_eq!(scene.emitted().await.len(), 40, "seed {seed}: events were lost");
    kills
}

/// What must hold whenever somebody looks: the events are there in order, each once, exactly as far as the cursor says.
async fn holds<F: FnMut(&Asked) -> Answer + Send + 'static>(scene: &Scene<F>, world: &Mutex<World>, seed: u32) {
    let emitted = scene.emitted().await;
    let cursor = scene.store.cursor("acme", "poll things").await.unwrap().cursor;
    let world = world.lock().unwrap();
    let expected: Vec<String> = (0..behind(&world, cursor.as_deref())).map(|name| name.to_string()).collect();
    assert_eq!(emitted, expected, "seed {seed}: cursor {cursor:?}");
}
