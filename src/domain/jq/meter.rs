//! What an evaluation may cost: steps, depth and time. Values are paid for by their size when they are built, so that
//! steps bound memory too.

use std::cell::Cell;
use std::panic;
use std::time::{Duration, Instant};

use jaq_core::data::HasLut;
use jaq_core::{DataT, Lut};
use jaq_json::{Num, Val};

/// The stack of a thread that evaluates. Only what is used of it takes memory.
pub(super) const STACK: usize = 256 << 20;

/// The part of the stack that evaluation may use. The rest is for what it calls last, and for dropping nested values.
const USABLE_STACK: usize = STACK / 2;

/// How often the clock is read.
const STEPS_PER_LOOK: u64 = 1024;

/// A limit that an expression has hit: the payload with which its thread unwinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Depth,
    Work,
}

impl Exceeded {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "the expression recurses too deeply",
            Self::Work => "the expression takes too long, or makes too much",
        }
    }
}

/// Counts what one evaluation costs. It is made on the thread that evaluates, at the foot of its stack.
pub(super) struct Meter {
    steps: Cell<u64>,
    look_at: Cell<u64>,
    bottom: usize,
    deadline: Option<Instant>,
}

impl Meter {
    pub(super) fn new(steps: u64, time: Option<Duration>) -> Self {
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Self { steps: Cell::new(steps), look_at: Cell::new(steps), bottom: stack_pointer(), deadline }
    }

    /// Pays for a step. A step that cannot be paid for unwinds the thread, as jaq has no error at every place where a limit
    /// may be hit.
    fn step(&self) {
        self.spend(1);
        if self.bottom.abs_diff(stack_pointer()) > USABLE_STACK {
            stop(Exceeded::Depth);
        }
    }

    /// Pays for work that takes as long as this many steps.
    pub(super) fn spend(&self, steps: u64) {
        let left = self.steps.get().checked_sub(steps).unwrap_or_else(|| stop(Exceeded::Work));
        self.steps.set(left);
        if left <= self.look_at.get() {
            self.look_at.set(left.saturating_sub(STEPS_PER_LOOK));
            if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                stop(Exceeded::Work);
            }
        }
    }

    /// Pays for a value with all that is in it.
    pub(super) fn pay(&self, value: &Val) {
        self.spend(1 + own_cost(value));
        if !matches!(value, Val::Arr(_) | Val::Obj(_)) {
            return;
        }
        // Without recursion, as a value may be nested deeply.
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            match value {
                Val::Arr(items) => open.extend(items.iter()),
                Val::Obj(fields) => open.extend(fields.iter().flat_map(|(name, value)| [name, value])),
                _ => {}
            }
            self.spend(1 + own_cost(value));
        }
    }

    /// Pays for a value, but not for what is in it, which was paid for.
    pub(super) fn pay_flat(&self, value: &Val) {
        self.spend(1 + own_cost(value));
    }

    /// Pays for a product before it is made.
    pub(super) fn pay_product(&self, left: &Val, right: &Val) {
        let times = |number: &Num| match number {
            Num::Int(times) => u64::try_from(*times).unwrap_or(0),
            Num::BigInt(_) => u64::MAX,
            _ => 0,
        };
        let cost = match (left, right) {
            (Val::TStr(text) | Val::BStr(text), Val::Num(number))
            | (Val::Num(number), Val::TStr(text) | Val::BStr(text)) => {
                (text.len() as u64).saturating_mul(times(number)) / BYTES_PER_STEP
            }
            (left, right) => own_cost(left).saturating_mul(own_cost(right)),
        };
        self.spend(cost);
    }
}

/// The bytes of a text that cost as much as a step.
const BYTES_PER_STEP: u64 = 64;

/// The items of a list that cost as much as a step, when they are not looked at.
const ITEMS_PER_STEP: u64 = 16;

fn own_cost(value: &Val) -> u64 {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() as u64 / BYTES_PER_STEP,
        Val::Arr(items) => items.len() as u64 / ITEMS_PER_STEP,
        Val::Obj(fields) => fields.len() as u64 / ITEMS_PER_STEP,
        Val::Num(Num::BigInt(number)) => number.bits() / 8 / BYTES_PER_STEP,
        Val::Num(Num::Dec(digits)) => digits.len() as u64 / BYTES_PER_STEP,
        _ => 0,
    }
}

fn stop(limit: Exceeded) -> ! {
    // Not a panic: nothing is printed.
    panic::resume_unwind(Box::new(limit))
}

#[inline(never)]
fn stack_pointer() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}

/// The data of an evaluation: jaq asks for the program at each step, which is where steps are counted.
#[derive(Clone, Copy)]
pub(super) struct Metered<'a> {
    pub(super) lut: &'a Lut<Jq>,
    pub(super) meter: &'a Meter,
}

impl<'a> HasLut<'a, Jq> for Metered<'a> {
    fn lut(&self) -> &'a Lut<Jq> {
        self.meter.step();
        self.lut
    }
}

/// The kind of data that programs work on.
pub(super) struct Jq;

impl DataT for Jq {
    type V<'a> = Val;
    type Data<'a> = Metered<'a>;
}
