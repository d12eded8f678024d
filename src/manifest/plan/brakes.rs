//! What keeps a plan from being carried out unless somebody says that it is meant. Counted before anything is sent.

use std::fmt;

use super::{Plan, PlanAction, RemovalReason};

/// From so many hooks on, a part of them is worth a brake.
const MANY: usize = 10;

/// The largest part of them that is removed without further ado, in percent.
const MAX_REMOVED_PERCENT: usize = 30;

/// A reason not to carry out a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brake {
    /// It removes a large part of the hooks.
    LargeRemoval {
        /// How many it removes.
        removed: usize,
        /// How many there are.
        owned: usize,
    },
    /// The registry has never held a hook of this manifest: perhaps it is not the one that it was.
    Initial {
        /// How many hooks would be made.
        created: usize,
    },
    /// It is to remove what the manifest does not name, and the manifest names nothing.
    Empty,
}

impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LargeRemoval { removed, owned } => {
                write!(f, "the plan removes {removed} of {owned} hooks, more than {MAX_REMOVED_PERCENT} %")
            }
            Self::Initial { created } => {
                write!(f, "the registry holds no hook of this manifest, and the plan creates {created}")
            }
            Self::Empty => f.write_str("the manifest names no hooks: nothing is removed"),
        }
    }
}

impl Plan {
    /// The reasons not to carry it out. Removals that only finish what an earlier run began do not count.
    pub fn brakes(&self) -> Vec<Brake> {
        let counts = self.counts();
        let removed = self.hooks.iter().filter(|hook| hook.removal == Some(RemovalReason::Pruned)).count();
        let mut brakes = Vec::new();
        if self.options.prune && self.wanted == 0 && counts.get(PlanAction::Extra) > 0 {
            brakes.push(Brake::Empty);
        }
        if self.owned >= MANY && removed * 100 > self.owned * MAX_REMOVED_PERCENT {
            brakes.push(Brake::LargeRemoval { removed, owned: self.owned });
        }
        if !self.is_known && counts.create > 0 {
            brakes.push(Brake::Initial { created: counts.create });
        }
        brakes
    }
}
