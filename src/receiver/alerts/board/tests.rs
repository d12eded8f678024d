//! Tests of what is told, and when.

use proptest::prelude::*;

use super::*;

const CRM: fn() -> AlertCondition = || AlertCondition::TargetFailing("crm".to_owned());
const DEAD: fn() -> AlertCondition = || AlertCondition::DeadLetters("crm".to_owned());

/// A board, and the moment: so many seconds after the start.
struct ToldBoard {
    board: AlertBoard,
    start: AlertTime,
    seconds: u64,
}

impl ToldBoard {
    fn new() -> Self {
        let wall = "2026-06-01T12:00:00Z".parse().unwrap();
        let start = AlertTime { instant: Instant::now(), wall };
        Self { board: AlertBoard::new(AlertTiming::default()), start, seconds: 0 }
    }

    fn now(&self) -> AlertTime {
        let gone = Duration::from_secs(self.seconds);
        AlertTime { instant: self.start.instant + gone, wall: self.start.wall + gone }
    }

    fn set(&mut self, condition: AlertCondition, what: Option<&str>) {
        self.count(condition, what, 0);
    }

    fn count(&mut self, condition: AlertCondition, what: Option<&str>, count: u64) {
        let now = self.now();
        assert!(self.board.set(condition, what.map(|what| AlertCause { what: what.to_owned(), count }), now));
    }

    fn next(&mut self) -> Option<AlertMessage> {
        let now = self.now().instant;
        self.board.next(now)
    }

    /// What is told now, all of it: the state, the summary, and since when in seconds.
    fn told(&mut self) -> Vec<(AlertState, String, i64)> {
        let mut told = Vec::new();
        while let Some(message) = self.next() {
            self.end(&message, Telling::Told);
            told.push((message.state, message.summary, message.since.duration_since(self.start.wall).as_secs()));
        }
        told
    }

    fn end(&mut self, message: &AlertMessage, telling: Telling) {
        let now = self.now().instant;
        self.board.ended(message, telling, now);
    }
}

fn firing(what: &str, since: i64) -> Vec<(AlertState, String, i64)> {
    vec![(AlertState::Firing, what.to_owned(), since)]
}

fn resolved(what: &str, since: i64) -> Vec<(AlertState, String, i64)> {
    vec![(AlertState::Resolved, what.to_owned(), since)]
}

#[test]
fn only_changes_are_told_and_that_it_is_over_when_that_has_held() {
    let mut told = ToldBoard::new();
    told.set(CRM(), None);
    assert_eq!((told.told(), told.board.wait(told.now().instant)), (vec![], None));
    for second in 0..10 {
        told.seconds = second;
        told.set(CRM(), Some("down"));
        assert_eq!(told.told(), if second == 0 { firing("down", 0) } else { vec![] });
    }
    // It comes and goes.
    for second in [20, 50, 100, 150] {
        told.seconds = second;
        told.set(CRM(), None);
        told.seconds = second + 20;
        told.set(CRM(), Some("down again"));
        assert_eq!(told.told(), vec![]);
    }
    told.seconds = 200;
    told.set(CRM(), None);
    assert_eq!(told.board.wait(told.now().instant), Some(Duration::from_secs(60)));
    told.seconds = 259;
    told.set(CRM(), None);
    assert_eq!(told.told(), vec![]);
    told.seconds = 260;
    assert_eq!(told.told(), resolved("crm has recovered", 200));
    assert!(told.board.entries.is_empty());
    told.seconds = 300;
    told.set(CRM(), Some("down"));
    assert_eq!(told.told(), firing("down", 300));
}

#[test]
fn what_could_not_be_told_is_told_as_it_is_then() {
    let mut told = ToldBoard::new();
    told.set(CRM(), Some("HTTP 500"));
    let message = told.next().unwrap();
    told.seconds = 5;
    told.set(CRM(), Some("HTTP 503"));
    told.end(&message, Telling::NotTold);
    assert_eq!(told.board.untold(told.now().instant), 1);
    assert_eq!(told.told(), firing("HTTP 503", 0));
    told.set(DEAD(), Some("2 dead letters"));
    let message = told.next().unwrap();
    // It is over while it is being told, and it was not told.
    told.set(DEAD(), None);
    told.end(&message, Telling::NotTold);
    told.seconds = 1000;
    assert_eq!(told.told(), vec![]);
    assert_eq!(told.board.entries.len(), 1);
}

#[test]
fn what_is_over_while_it_is_told_is_told_to_be_over() {
    for telling in [Telling::Told, Telling::InDoubt] {
        let mut told = ToldBoard::new();
        told.set(CRM(), Some("down"));
        let message = told.next().unwrap();
        told.set(CRM(), None);
        told.end(&message, telling);
        assert_eq!(told.told(), vec![]);
        told.seconds = 60;
        let message = told.next().unwrap();
        assert_eq!(message.state, AlertState::Resolved);
        // It fails anew while it is told to be over.
        told.seconds = 61;
        told.set(CRM(), Some("down once more"));
        told.end(&message, telling);
        assert_eq!(told.told(), firing("down once more", if telling == Telling::Told { 61 } else { 0 }));
    }
}

#[test]
fn a_count_that_grows_is_told_again_after_a_while() {
    let mut told = ToldBoard::new();
    told.count(DEAD(), Some("1"), 1);
    assert_eq!(told.told(), firing("1", 0));
    for minute in 1..60 {
        told.seconds = minute * 60;
        told.count(DEAD(), Some("many"), minute + 1);
        assert_eq!(told.told(), vec![]);
    }
    told.seconds = 3600;
    assert_eq!(told.told(), firing("many", 0));
    // It stops growing, and then gets less.
    told.seconds = 4 * 3600;
    told.count(DEAD(), Some("few"), 5);
    assert_eq!(told.told(), vec![]);
    told.count(DEAD(), Some("more"), 6);
    assert_eq!(told.told(), firing("more", 0));
    told.count(DEAD(), None, 0);
    told.seconds += 60;
    assert_eq!(told.told(), resolved("no dead letters of crm are left", 4 * 3600));
}

#[test]
fn what_is_known_is_not_told_before_it_changes() {
    let mut told = ToldBoard::new();
    let known = |count| Some(AlertCause { what: "old".to_owned(), count });
    let now = told.now();
    told.board.set_known(&DEAD(), known(3), now);
    told.board.set_known(&DEAD(), known(4), now);
    told.count(DEAD(), Some("old"), 4);
    assert_eq!(told.told(), vec![]);
    told.seconds = 1;
    told.count(DEAD(), Some("new"), 5);
    assert_eq!(told.told(), firing("new", 0));
    told.board.set_known(&DEAD(), None, now);
    assert!(told.board.entries.is_empty());
    told.board.set_known(&DEAD(), known(1), now);
    told.count(DEAD(), None, 0);
    told.seconds = 100;
    assert_eq!(told.told().len(), 1);
}

#[test]
fn one_that_is_not_accepted_does_not_keep_others_from_it() {
    let mut told = ToldBoard::new();
    told.set(CRM(), Some("down"));
    told.seconds = 1;
    told.set(AlertCondition::Storage, Some("full"));
    let first = told.next().unwrap();
    told.end(&first, Telling::NotTold);
    let second = told.next().unwrap();
    told.end(&second, Telling::NotTold);
    let third = told.next().unwrap();
    assert_eq!([first.condition, second.condition, third.condition], [CRM(), AlertCondition::Storage, CRM()]);
}

#[test]
fn memory_is_bounded() {
    let mut told = ToldBoard::new();
    let condition = |number: usize| AlertCondition::TargetFailing(number.to_string());
    for number in 0..MAX_CONDITIONS {
        told.set(condition(number), Some("down"));
    }
    let problem = || Some(AlertCause { what: "down".to_owned(), count: 0 });
    let now = told.now();
    assert!(!told.board.set(condition(MAX_CONDITIONS), problem(), now));
    told.set(condition(0), None);
    assert!(told.board.set(condition(MAX_CONDITIONS), problem(), now));
    assert_eq!(told.told().len(), MAX_CONDITIONS);
}

/// What happens to a condition, or to what is told of it.
#[derive(Debug, Clone)]
enum BoardStep {
    Set(bool),
    Wait(u64),
    Tell(Telling),
    /// The same, and the condition changes while it is told.
    TellAcross(Telling),
}

fn steps() -> impl Strategy<Value = Vec<BoardStep>> {
    let telling = || prop_oneof![Just(Telling::Told), Just(Telling::NotTold), Just(Telling::InDoubt)];
    let step = prop_oneof![
        any::<bool>().prop_map(BoardStep::Set),
        (1..90_u64).prop_map(BoardStep::Wait),
        telling().prop_map(BoardStep::Tell),
        telling().prop_map(BoardStep::TellAcross),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn whoever_is_told_ends_up_with_what_is_so(steps in steps()) {
        let mut told = ToldBoard::new();
        // What is so and since when; what was heard last; whether something was told in doubt.
        let (mut fires, mut since, mut heard, mut doubt) = (false, 0, None, false);
        for step in steps.into_iter().chain([BoardStep::Wait(60), BoardStep::Tell(Telling::Told), BoardStep::Wait(60), BoardStep::Tell(Telling::Told)]) {
            match step {
                BoardStep::Wait(seconds) => told.seconds += seconds,
                BoardStep::Set(now) => {
                    if now != fires {
                        (fires, since) = (now, told.seconds);
                    }
                    told.set(CRM(), now.then_some("down"));
                }
                BoardStep::Tell(telling) | BoardStep::TellAcross(telling) => {
                    let Some(message) = told.next() else { continue };
                    let is_resolved = message.state == AlertState::Resolved;
                    prop_assert_eq!(is_resolved, !fires);
                    prop_assert!(!is_resolved || told.seconds >= since + 60);
                    // Nothing is over that was never told.
                    prop_assert!(!is_resolved || heard == Some(AlertState::Firing) || doubt);
                    // Nothing is told twice in a row, unless it is not known what was heard.
                    prop_assert!(doubt || heard != Some(message.state));
                    if matches!(step, BoardStep::TellAcross(_)) {
                        (fires, since) = (!fires, told.seconds);
                        told.set(CRM(), fires.then_some("down"));
                    }
                    told.end(&message, telling);
                    match telling {
                        Telling::Told => (heard, doubt) = (Some(message.state), false),
                        Telling::InDoubt => doubt = true,
                        Telling::NotTold => {}
                    }
                }
            }
        }
        prop_assert_eq!(heard == Some(AlertState::Firing), fires);
        prop_assert_eq!(told.board.entries.is_empty(), !fires);
        prop_assert!(told.next().is_none());
    }
}
