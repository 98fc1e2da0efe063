//! The last events, one a line, newest first, and which of them are listed. Pure: texts are made for the lines that are
//! shown, and for all of them once when a word is looked for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use numatrace_common::cause::Cause;

use super::help::wrap;
use super::page::{Line, Role};
use super::rows::weigh_latency;
use super::state::Key;
use crate::snapshot::{Event, Host, Interval, Snapshot, What, Who};
use crate::text;
use crate::window::ThreadKey;

/// Longest filter.
const MAX_FILTER: usize = 64;
/// From this width on lines also have the time of day.
const WIDE: u16 = 120;
/// Lines above the events.
const HEAD_LINES: usize = 2;
/// Lines below them, with all of the selected one.
const FOOT_LINES: usize = 2;

/// What the view asks for after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the key means nothing here.
    Nothing,
    /// To be drawn.
    Draw,
    /// The detail of this thread.
    Open(ThreadKey),
}

/// One condition of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// The line has this, in small letters.
    Word(String),
    /// The kind begins so.
    Kind(String),
    /// A wait of at least so many ns.
    Slower(u64),
    Cpu(u32),
    Node(u32),
    Tid(u32),
}

/// A filter: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    /// Each with whether it must not hold.
    terms: Vec<(bool, Term)>,
    /// What cannot be read, in a sentence: that condition is left out.
    wrong: Option<String>,
}

/// Kinds, as the filter calls them.
const KINDS: [&str; 9] = ["wait", "migration", "start", "exit", "exec", "untracked", "touch", "loss", "gap"];

impl Filter {
    fn parse(typed: &str) -> Filter {
        let mut filter = Filter::default();
        for word in typed.split_whitespace() {
            let (not, plain) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
            if plain.is_empty() {
                continue;
            }
            match term(plain) {
                Ok(term) => filter.terms.push((not, term)),
                Err(why) => filter.wrong = filter.wrong.or(Some(why)),
            }
        }
        filter
    }

    fn has_words(&self) -> bool {
        self.terms.iter().any(|(_, term)| matches!(term, Term::Word(_)))
    }

    fn holds(&self, event: &Event, host: &Host, line: &str) -> bool {
        self.terms.iter().all(|(not, term)| *not != is_so(term, event, host, line))
    }
}

fn term(word: &str) -> Result<Term, String> {
    let Some((name, value)) = word.split_once(':') else { return Ok(Term::Word(word.to_lowercase())) };
    let number = || value.parse::<u32>().map_err(|_| format!("{name}: needs a number, not '{value}'"));
    match name {
        "kind" if !value.is_empty() && KINDS.iter().any(|kind| kind.starts_with(value)) => Ok(Term::Kind(value.into())),
        "kind" => Err(format!("kind: is one of {}", KINDS.join(", "))),
        "slower" => {
            duration(value).map(Term::Slower).ok_or_else(|| format!("slower: needs 1ms, 20us or 3s, not '{value}'"))
        }
        "cpu" => number().map(Term::Cpu),
        "node" => number().map(Term::Node),
        "tid" => number().map(Term::Tid),
        // A name can have a colon.
        _ => Ok(Term::Word(word.to_lowercase())),
    }
}

/// `1.5ms` in ns.
fn duration(typed: &str) -> Option<u64> {
    let split = typed.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = typed.split_at(split);
    let unit = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some((number * unit) as u64)
}

fn is_so(term: &Term, event: &Event, host: &Host, line: &str) -> bool {
    let from = match event.what {
        What::Migration { from, .. } => Some(from),
        _ => None,
    };
    let mut cpus = event.cpu.into_iter().chain(from);
    match term {
        Term::Word(word) => line.contains(word.as_str()),
        Term::Kind(kind) => kind_of(event).starts_with(kind.as_str()),
        Term::Slower(least) => matches!(event.what, What::Wait { ns, .. } if ns >= *least),
        Term::Cpu(cpu) => cpus.any(|other| other == *cpu),
        Term::Node(node) => cpus.any(|cpu| node_of(host, cpu) == Some(*node)),
        Term::Tid(tid) => event.thread.as_ref().is_some_and(|who| who.tid.0 == *tid),
    }
}

const fn kind_of(event: &Event) -> &'static str {
    match event.what {
        What::Wait { .. } => "wait",
        What::Migration { .. } => "migration",
        What::Started => "start",
        What::Exited => "exit",
        What::Exec => "exec",
        What::Untracked => "untracked",
        What::Touched { .. } => "touch",
        What::Lost { .. } => "loss",
        What::Gap { .. } => "gap",
    }
}

fn node_of(host: &Host, cpu: u32) -> Option<u32> {
    host.nodes.iter().find(|node| node.cpus.contains(&cpu)).map(|node| node.id.0)
}

fn named(who: &Who) -> String {
    match (who.tid.0, who.name.is_empty()) {
        (0, _) => "idle/irq".into(),
        (tid, true) => tid.to_string(),
        (tid, false) => format!("{} ({tid})", who.name),
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Wakeup => "wakeup",
        Cause::LoadBalance => "load balance",
        Cause::ActiveBalanceOrAffinity => "active balance or affinity",
        Cause::NumaBalancing => "NUMA balancing",
        Cause::Hotplug => "hotplug",
        Cause::Other => "other cause",
    }
}

/// What happened, in words, and how much it weighs.
fn what(event: &Event, host: &Host) -> (String, Role) {
    match &event.what {
        What::Wait { ns, preempted, waker, behind } => {
            let mut words = format!("waited {}", text::duration(*ns));
            match (preempted, waker) {
                (true, _) => words.push_str(" after preemption"),
                (false, Some(waker)) => words.push_str(&format!(", woken by {}", named(waker))),
                (false, None) => words.push_str(" after a wakeup"),
            }
            match behind {
                Some(behind) if behind.tid.0 != 0 => words.push_str(&format!(", behind {}", named(behind))),
                _ => {}
            }
            (words, weigh_latency(Some(*ns)))
        }
        What::Migration { from, cross_node, cause: why } => {
            let to = event.cpu.map_or_else(|| "?".into(), |to| to.to_string());
            let node = |cpu: Option<u32>| cpu.and_then(|cpu| node_of(host, cpu)).map_or("?".into(), |n| n.to_string());
            let nodes = if *cross_node {
                format!(", node {} -> {}", node(Some(*from)), node(event.cpu))
            } else {
                String::new()
            };
            let role = if *cross_node { Role::Warn } else { Role::Plain };
            (format!("moved CPU {from} -> {to}{nodes} ({})", cause(*why)), role)
        }
        What::Started => ("started".into(), Role::Plain),
        What::Exited => ("exited".into(), Role::Dim),
        What::Exec => ("runs another program".into(), Role::Plain),
        What::Untracked => ("is no target any more".into(), Role::Dim),
        What::Touched { mapping, symbol, local, remote } => {
            let count = |n: u64| text::count_short(n);
            let words =
                format!("touched {} remote and {} local pages in {symbol}, {mapping}", count(*remote), count(*local));
            (words, Role::Plain)
        }
        What::Lost { records: 1 } => ("! 1 record was lost in the interval up to here".into(), Role::Bad),
        What::Lost { records } => {
            (format!("! {} records were lost in the interval up to here", text::count(*records)), Role::Bad)
        }
        What::Gap { ns } => (format!("! page touches: nothing was seen for {}", text::duration(*ns)), Role::Bad),
    }
}

/// Time since the start: `12.345s`.
fn since_start(ns: u64) -> String {
    format!("{}.{:03}s", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}

/// Everything of a line but the time of day, for words to be looked for in.
fn whole(event: &Event, host: &Host) -> String {
    let cpu = event.cpu.map_or_else(String::new, |cpu| format!("cpu {cpu}"));
    let who = event.thread.as_ref().map_or_else(String::new, named);
    format!("{} {cpu} {who} {} {}", since_start(event.time_ns), kind_of(event), what(event, host).0).to_lowercase()
}

/// The state of the view.
#[derive(Clone, Debug, Default)]
pub struct Events {
    intervals: Vec<Arc<Interval>>,
    filter: String,
    parsed: Filter,
    editing: bool,
    /// Positions of what is listed, newest first: interval, event.
    listed: Vec<(u32, u32)>,
    /// Position in `listed` of the selected one.
    selected: usize,
    /// The event that stays selected when others come: number of its interval, and its position there. `None` until the
    /// user chooses one: then the newest is.
    pinned: Option<(u64, u32)>,
    first: usize,
}

impl Events {
    /// These are the last events.
    pub fn observe(&mut self, intervals: Vec<Arc<Interval>>, numbers: &Snapshot, lines: usize) {
        self.intervals = intervals;
        self.list(numbers, lines);
    }

    /// Filters anew, and finds the selected one again.
    pub fn list(&mut self, numbers: &Snapshot, lines: usize) {
        self.listed.clear();
        let words = self.parsed.has_words();
        for (at, interval) in self.intervals.iter().enumerate().rev() {
            for (nth, event) in interval.events.iter().enumerate().rev() {
                let line = if words { whole(event, &numbers.host) } else { String::new() };
                if self.parsed.holds(event, &numbers.host, &line) {
                    self.listed.push((at as u32, nth as u32));
                }
            }
        }
        self.selected = match self.pinned {
            // One that is gone was among the oldest; one that does not match leaves its place to the next older one.
            Some((number, nth)) => self.listed.partition_point(|(at, event)| {
                self.intervals.get(*at as usize).is_some_and(|one| (one.number, *event) > (number, nth))
            }),
            None => 0,
        };
        self.show_selected(lines);
    }

    /// Clamps the selection, and scrolls so that it is shown; `lines` is the room of the view.
    pub fn show_selected(&mut self, lines: usize) {
        let page = page(lines);
        self.selected = self.selected.min(self.listed.len().saturating_sub(1));
        self.first = self.first.min(self.listed.len().saturating_sub(page));
        self.first = self.first.clamp((self.selected + 1).saturating_sub(page), self.selected);
    }

    /// The filter as it was typed.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The filter is being typed.
    pub const fn editing(&self) -> bool {
        self.editing
    }

    /// How many are listed, the selected one, and the first one shown.
    pub fn place(&self) -> (usize, usize, usize) {
        (self.listed.len(), self.selected, self.first)
    }

    fn event(&self, listed: usize) -> Option<&Event> {
        let (at, nth) = *self.listed.get(listed)?;
        self.intervals.get(at as usize)?.events.get(nth as usize)
    }

    fn select(&mut self, at: usize, lines: usize) {
        self.selected = at;
        self.show_selected(lines);
        self.pinned = self
            .listed
            .get(self.selected)
            .and_then(|(at, nth)| self.intervals.get(*at as usize).map(|interval| (interval.number, *nth)));
    }

    fn refilter(&mut self, numbers: &Snapshot, lines: usize) {
        self.parsed = Filter::parse(&self.filter);
        self.list(numbers, lines);
    }

    /// A key.
    pub fn press(&mut self, key: Key, numbers: &Snapshot, lines: usize) -> Asked {
        if self.editing && !matches!(key, Key::Up | Key::Down | Key::PageUp | Key::PageDown) {
            return self.edit(key, numbers, lines);
        }
        let (at, page) = (self.selected, page(lines));
        match key {
            Key::Char('/') => self.editing = true,
            Key::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.refilter(numbers, lines);
            }
            Key::Up | Key::Char('k') => self.select(at.saturating_sub(1), lines),
            Key::Down | Key::Char('j') => self.select(at.saturating_add(1), lines),
            Key::PageUp => self.select(at.saturating_sub(page), lines),
            Key::PageDown => self.select(at.saturating_add(page), lines),
            Key::End => self.select(usize::MAX, lines),
            Key::Home => {
                self.select(0, lines);
                self.pinned = None;
            }
            Key::Enter => {
                let event = self.event(at);
                let found = event.and_then(|event| Some((event.thread.as_ref()?, event.born_ns)));
                return found.map_or(Asked::Nothing, |(who, born)| Asked::Open(ThreadKey { tid: who.tid, born }));
            }
            _ => return Asked::Nothing,
        }
        Asked::Draw
    }

    fn edit(&mut self, key: Key, numbers: &Snapshot, lines: usize) -> Asked {
        match key {
            Key::Char(c) if !c.is_control() && self.filter.chars().count() < MAX_FILTER => self.filter.push(c),
            Key::Backspace if self.filter.is_empty() => self.editing = false,
            Key::Backspace => _ = self.filter.pop(),
            Key::Enter => self.editing = false,
            Key::Esc => {
                self.editing = false;
                self.filter.clear();
            }
            _ => return Asked::Nothing,
        }
        self.refilter(numbers, lines);
        Asked::Draw
    }

    /// The view in lines, and which of them is selected.
    pub fn lines(&self, numbers: &Snapshot, width: u16, lines: usize) -> (Vec<Line>, Option<usize>) {
        let (title, rule) = self.title();
        let mut all = vec![title, rule];
        if let Some(why) = self.why_empty() {
            all.push(Line::default());
            all.extend(wrap(&why, usize::from(width.max(1))).into_iter().map(|part| Line::of(part, Role::Plain)));
            return (all, None);
        }
        let start = numbers.start.parse::<Timestamp>().ok().filter(|_| width >= WIDE);
        let shown = (self.first..self.listed.len()).take(page(lines));
        for at in shown {
            all.extend(self.event(at).map(|event| self.line(event, numbers, width, start, at == self.selected)));
        }
        let selected = HEAD_LINES + self.selected - self.first;
        if let Some(event) = self.event(self.selected).filter(|_| lines > HEAD_LINES + FOOT_LINES) {
            all.resize(lines - FOOT_LINES, Line::default());
            let who = event.thread.as_ref().map_or_else(String::new, |who| format!("{} ", named(who)));
            let (words, role) = what(event, &numbers.host);
            let parts = wrap(&format!("{who}{words}"), usize::from(width.max(1)));
            all.extend(parts.into_iter().take(FOOT_LINES).map(|part| Line::of(part, role)));
        }
        (all, Some(selected))
    }

    fn line(&self, event: &Event, numbers: &Snapshot, width: u16, start: Option<Timestamp>, selected: bool) -> Line {
        let mut line = Line::of(if selected { ">" } else { " " }, Role::Strong);
        let narrow = width < 60;
        line.push(text::right(&since_start(event.time_ns), 9), Role::Dim);
        if let Some(start) = start {
            let after = SignedDuration::from_nanos(i64::try_from(event.time_ns).unwrap_or(i64::MAX));
            let time = start.checked_add(after).map(|at| at.strftime("%H:%M:%S%.3fZ").to_string());
            line.push(format!("  {}", text::left(&time.unwrap_or_default(), 13)), Role::Dim);
        }
        let cpu = event.cpu.map_or_else(String::new, |cpu| cpu.to_string());
        line.push(text::right(&cpu, 5), Role::Plain);
        let who = event.thread.as_ref();
        if !narrow {
            let tid = who.map_or_else(String::new, |who| who.tid.to_string());
            line.push(text::right(&tid, 9), Role::Plain);
        }
        let name = if narrow { 9 } else { 16 };
        line.push(format!(" {} ", text::left(who.map_or("", |who| &who.name), name)), Role::Plain);
        let (words, role) = what(event, &numbers.host);
        line.push(words, role);
        line
    }

    /// How many of how many, and by which rule.
    fn title(&self) -> (Line, Line) {
        let told: usize = self.intervals.iter().map(|interval| interval.events.len()).sum();
        let seen = self.intervals.iter().fold(0u64, |sum, one| sum.saturating_add(one.seen.total()));
        let mut title = Line::of("Events ", Role::Strong);
        let (told, seen) = (text::count(told as u64), text::count(seen));
        if self.filter.is_empty() {
            title.push(format!("{told} of {seen}"), Role::Plain);
        } else {
            let (listed, filter) = (text::count(self.listed.len() as u64), text::fit(&self.filter, 40));
            title.push(format!("{listed} of {told} match '{filter}'"), Role::Warn);
            title.push(format!("  of {seen}"), Role::Plain);
        }
        if let (Some(first), Some(last)) = (self.intervals.first(), self.intervals.last()) {
            let stretch = format!(" from {} to {}", text::duration(first.start_ns), text::duration(last.end_ns));
            title.push(stretch, Role::Plain);
        }
        title.push("  newest first", Role::Dim);
        let rule = match &self.parsed.wrong {
            Some(why) => Line::of(format!("! {why}"), Role::Bad),
            None => Line::of("the longest waits of each interval, all losses, some of the rest: see ?", Role::Dim),
        };
        (title, rule)
    }

    fn why_empty(&self) -> Option<String> {
        if !self.listed.is_empty() {
            None
        } else if self.intervals.is_empty() {
            Some("No event worth a line has been seen yet: events come with the numbers of each interval.".into())
        } else {
            Some(format!("No event matches '{}': Esc clears the filter.", text::fit(&self.filter, 64)))
        }
    }
}

/// Events that fit; at least 1, so that paging always moves.
const fn page(lines: usize) -> usize {
    let page = lines.saturating_sub(HEAD_LINES + FOOT_LINES);
    if page == 0 { 1 } else { page }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{HostNode, Seen};
    use crate::units::{NodeId, Tid};

    fn event(time_ns: u64, tid: u32, cpu: u32, what: What) -> Event {
        let thread = Some(Who { tid: Tid(tid), name: format!("io-{tid}").into() });
        Event { time_ns, thread, born_ns: 7, cpu: Some(cpu), what }
    }

    fn wait(ns: u64) -> What {
        What::Wait { ns, preempted: false, waker: None, behind: None }
    }

    fn numbers() -> Snapshot {
        let mut numbers = Snapshot::nothing_yet("pid 1");
        let node = |id: u32, cpus| HostNode { id: NodeId(id), cpus, memory_bytes: 0 };
        numbers.host.nodes = vec![node(0, vec![0, 1]), node(8, vec![2, 3])];
        numbers
    }

    fn interval(number: u64, events: Vec<Event>) -> Arc<Interval> {
        Arc::new(Interval { number, events, seen: Seen { waits: 9, ..Seen::default() }, ..Interval::default() })
    }

    fn listed(filter: &str) -> Vec<u64> {
        let all = vec![
            event(1, 10, 0, wait(500_000)),
            event(2, 11, 2, wait(2_000_000)),
            event(3, 12, 3, What::Migration { from: 1, cross_node: true, cause: Cause::LoadBalance }),
            event(4, 10, 1, What::Exited),
        ];
        let mut events = Events { filter: filter.into(), parsed: Filter::parse(filter), ..Events::default() };
        events.observe(vec![interval(1, all)], &numbers(), 20);
        events.listed.iter().map(|(_, nth)| u64::from(*nth) + 1).collect()
    }

    #[test]
    fn all_conditions_must_hold_and_what_cannot_be_read_is_told_and_left_out() {
        let table: [(&str, &[u64]); 14] = [
            ("", &[4, 3, 2, 1]),
            ("kind:wait", &[2, 1]),
            ("kind:mig", &[3]),
            ("kind:wait slower:1ms", &[2]),
            ("slower:0.5ms", &[2, 1]),
            ("!kind:wait", &[4, 3]),
            ("cpu:1", &[4, 3]),
            ("node:8", &[3, 2]),
            ("tid:10", &[4, 1]),
            ("IO-1 load", &[3]),
            ("!io-10", &[3, 2]),
            ("! ", &[4, 3, 2, 1]),
            ("cpu:x tid:10", &[4, 1]),
            ("nobody", &[]),
        ];
        for (filter, wanted) in table {
            assert_eq!(listed(filter), wanted, "{filter}");
        }
        assert!(Filter::parse("cpu:x").wrong.is_some_and(|why| why.contains("'x'")));
        assert!(
            ["kind:", "kind:foo", "slower:1", "slower:-1ms"].iter().all(|typed| Filter::parse(typed).wrong.is_some())
        );
    }

    #[test]
    fn the_chosen_event_stays_selected_when_others_come_and_when_it_goes_an_older_one_is() {
        let of = |number: u64| interval(number, (0..5).map(|n| event(number * 10 + n, 1, 0, wait(n + 1))).collect());
        let (numbers, mut events) = (numbers(), Events::default());
        events.observe(vec![of(1), of(2)], &numbers, 7);
        let time = |events: &Events| events.event(events.selected).map(|event| event.time_ns);
        assert_eq!(time(&events), Some(24));
        events.observe(vec![of(1), of(2), of(3)], &numbers, 7);
        assert_eq!(time(&events), Some(34), "the newest as long as none is chosen");
        (0..3).for_each(|_| _ = events.press(Key::Down, &numbers, 7));
        assert_eq!((time(&events), events.place()), (Some(31), (15, 3, 1)));
        events.observe(vec![of(2), of(3), of(4)], &numbers, 7);
        assert_eq!((time(&events), events.place().1), (Some(31), 8));
        events.observe(vec![of(4), of(5)], &numbers, 7);
        assert_eq!(time(&events), Some(40), "what is left of the oldest");
        assert_eq!(events.press(Key::Enter, &numbers, 7), Asked::Open(ThreadKey { tid: Tid(1), born: 7 }));
        _ = events.press(Key::Home, &numbers, 7);
        events.observe(vec![of(4), of(6)], &numbers, 7);
        assert_eq!(time(&events), Some(64));
    }
}
