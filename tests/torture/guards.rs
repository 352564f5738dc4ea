//! The kinds of readers, and guards that go from one reader to another.

use crate::World;
use crate::machine::Rng;
use crate::objects::Look;
use crossbeam_epoch::pin;
use gracealloc::{OwnedReadGuard, ReadGuard, read, read_owned};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Whose readers there are in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    Own,
    Crossbeam,
    Both,
}

/// A reader of either kind.
#[allow(dead_code, reason = "held until dropped")]
pub(crate) enum Guard {
    Own(ReadGuard),
    Owned(OwnedReadGuard),
    Crossbeam(crossbeam_epoch::Guard),
}

impl Kinds {
    /// From `READERS`.
    pub(crate) fn chosen() -> Self {
        match std::env::var("READERS").as_deref() {
            Ok("own") => Self::Own,
            Ok("crossbeam") => Self::Crossbeam,
            Ok("both") | Err(_) => Self::Both,
            Ok(other) => panic!("READERS={other}: own, crossbeam or both"),
        }
    }

    pub(crate) fn has_own(self) -> bool {
        self != Self::Crossbeam
    }

    /// A guard of any kind that there is.
    pub(crate) fn open(self, rng: &mut Rng) -> Guard {
        match (self, rng.below(16)) {
            (Self::Crossbeam, _) | (Self::Both, 0..8) => Guard::Crossbeam(pin()),
            (_, 15) => Guard::Owned(read_owned()),
            _ => Guard::Own(read()),
        }
    }
}

/// A section that nobody is in: its guard, and what it looked at.
pub(crate) struct Held {
    look: Look,
    _guard: OwnedReadGuard, // dropped last
}

/// Sections on their way from one thread to another.
pub(crate) struct Post(Mutex<VecDeque<Held>>);

/// More than so many are not under way: each of them holds grace periods up.
const UNDER_WAY: usize = 8;

impl Post {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// Opens a section and leaves it there; ends another one, opened elsewhere perhaps.
    pub(crate) fn exchange(&self, world: &World, rng: &mut Rng) {
        let guard = read_owned();
        let held = Held { look: world.look(rng), _guard: guard };
        let other = {
            let mut post = self.0.lock().unwrap();
            post.push_back(held);
            if post.len() > UNDER_WAY || rng.one_in(2) { post.pop_front() } else { None }
        };
        if let Some(held) = other {
            world.look_again(&held.look);
        }
    }

    /// Ends all that are under way.
    pub(crate) fn finish(&self, world: &World) {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.iter().for_each(|held| world.look_again(&held.look));
    }
}
