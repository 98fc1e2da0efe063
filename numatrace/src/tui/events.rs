//! The last events, one a line, newest first, and which of them are listed. Pure: texts are made for the lines that are
//! shown, and for all of them once when a word is looked for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use numatrace_common::cause::Cause;

use super::filter::parse::{self, Chars, Token};
use super::help::wrap;
use super::keymap::Keymap;
use super::layout::Column;
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
    /// The thread's name has this, in small letters.
    Name(String),
    /// The kind begins so.
    Kind(String),
    /// A wait of at least so many ns.
    Slower(u64),
    /// From one number to another, each.
    Cpu(Ranges),
    Node(Ranges),
    Tid(Ranges),
}

type Ranges = Vec<(u32, u32)>;

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
        let tokens = parse::tokens(typed).or_else(|why| {
            filter.wrong = Some(why.to_string());
            // What stands before the quotes that are being typed.
            parse::tokens(typed.rsplit_once('"').map_or("", |(before, _)| before))
        });
        for token in tokens.unwrap_or_default() {
            match term(&token) {
                Ok(term) => filter.terms.push(term),
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

fn term(token: &Token) -> Result<(bool, Term), String> {
    let (not, chars) = token.negated().map_err(|why| why.to_string())?;
    let text = |chars: &Chars| chars.iter().map(|(c, _)| c).collect::<String>();
    let (name, rest) = parse::name(chars);
    let [(':', false), value @ ..] = rest else { return Ok((not, Term::Word(text(chars).to_lowercase()))) };
    let value = text(value);
    let ranges = || parse::ranges(&name, &value).map_err(|why| why.to_string());
    let term = match name.as_str() {
        // A name can have a colon, or begin with one.
        "" => Term::Word(text(chars).to_lowercase()),
        "name" if value.is_empty() => return Err("name: needs a text: name:worker".into()),
        "name" => Term::Name(value.to_lowercase()),
        "kind" if !value.is_empty() && KINDS.iter().any(|kind| kind.starts_with(&value)) => Term::Kind(value),
        "kind" => return Err(format!("kind: is one of {}", KINDS.join(", "))),
        "slower" => match parse::number(&value, Column::P99) {
            Some(ns) => Term::Slower(ns as u64),
            None => return Err("slower: needs a time: slower:1ms".into()),
        },
        "cpu" => Term::Cpu(ranges()?),
        "node" => Term::Node(ranges()?),
        "tid" => Term::Tid(ranges()?),
        _ => return Err(format!("{name}: is no condition: name, tid, cpu, node, kind, slower")),
    };
    Ok((not, term))
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
        Term::Name(name) => event.thread.as_ref().is_some_and(|who| who.name.to_lowercase().contains(name.as_str())),
        Term::Cpu(wanted) => cpus.any(|cpu| is_within(wanted, cpu)),
        Term::Node(wanted) => cpus.filter_map(|cpu| node_of(host, cpu)).any(|node| is_within(wanted, node)),
        Term::Tid(wanted) => event.thread.as_ref().is_some_and(|who| is_within(wanted, who.tid.0)),
    }
}

fn is_within(ranges: &[(u32, u32)], number: u32) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&number))
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
        (tid, true) => format!("tid {tid}"),
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
            // First what matters most: a narrow terminal cuts off the rest.
            if let Some(behind) = behind.as_ref().filter(|behind| behind.tid.0 != 0) {
                words.push_str(&format!(" behind {}", named(behind)));
            }
            match (preempted, waker) {
                (true, _) => words.push_str(", preempted"),
                (false, Some(waker)) => words.push_str(&format!(", woken by {}", named(waker))),
                (false, None) => words.push_str(", after a wakeup"),
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
    /// Where earlier events were, and are not kept any more: time of the oldest one that is, ns.
    kept_from: Option<u64>,
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
    /// These are the last events. Where earlier ones are not kept any more, `kept_from` is the time of the oldest one that is.
    pub fn observe(&mut self, intervals: Vec<Arc<Interval>>, kept_from: Option<u64>, numbers: &Snapshot, lines: usize) {
        (self.intervals, self.kept_from) = (intervals, kept_from);
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

    /// What is wrong with the filter.
    pub fn wrong(&self) -> Option<&str> {
        self.parsed.wrong.as_deref()
    }

    /// Selects the event in this line of the view. Says whether it was selected before; `None` where there is none.
    pub fn point(&mut self, line: usize, lines: usize) -> Option<bool> {
        let place = line.checked_sub(HEAD_LINES).filter(|place| *place < page(lines))?;
        let at = self.first + place;
        if at >= self.listed.len() {
            return None;
        }
        let again = at == self.selected;
        self.select(at, lines);
        Some(again)
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
            // What is wrong is not kept: it is still to be mended.
            Key::Enter if self.parsed.wrong.is_some() => return Asked::Nothing,
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
    pub fn lines(&self, numbers: &Snapshot, width: u16, lines: usize, keymap: &Keymap) -> (Vec<Line>, Option<usize>) {
        let (title, rule) = self.title(keymap);
        let mut all = vec![title, rule];
        if let Some(why) = self.why_empty(keymap) {
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
            // The kernel has 4,194,304 at most.
            line.push(text::right(&tid, 8), Role::Plain);
        }
        let name = if narrow { 9 } else { 15 };
        line.push(format!(" {} ", text::left(who.map_or("", |who| &who.name), name)), Role::Plain);
        let (words, role) = what(event, &numbers.host);
        line.push(words, role);
        line
    }

    /// How many of how many, and by which rule.
    fn title(&self, keymap: &Keymap) -> (Line, Line) {
        let told: usize = self.intervals.iter().map(|interval| interval.events.len()).sum();
        let seen = self.intervals.iter().fold(0u64, |sum, one| sum.saturating_add(one.seen.total()));
        let mut title = Line::of("Events ", Role::Strong);
        let gone = self.intervals.is_empty() && self.kept_from.is_some();
        let (told, seen) = (text::count(told as u64), text::count(seen));
        if gone {
            title.push("not kept", Role::Warn);
        } else if self.filter.is_empty() {
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
        if !gone {
            title.push("  newest first", Role::Dim);
        }
        let rule = match &self.parsed.wrong {
            Some(why) => Line::of(format!("! {why}"), Role::Bad),
            None => {
                let see = keymap.name_of(Key::Char('?'));
                let rule = format!("the longest waits of each interval, all losses, some of the rest: see {see}");
                Line::of(rule, Role::Dim)
            }
        };
        (title, rule)
    }

    fn why_empty(&self, keymap: &Keymap) -> Option<String> {
        if !self.listed.is_empty() {
            None
        } else if let (true, Some(oldest)) = (self.intervals.is_empty(), self.kept_from) {
            let oldest = text::duration(oldest);
            Some(format!("Events up to here are no longer kept (the oldest kept is at {oldest})."))
        } else if self.intervals.is_empty() {
            Some("No event worth a line has been seen yet: events come with the numbers of each interval.".into())
        } else {
            let clear = keymap.name_of(Key::Esc);
            Some(format!("No event matches '{}': {clear} clears the filter.", text::fit(&self.filter, 64)))
        }
    }
}

/// Events that fit; at least 1, so that paging always moves.
const fn page(lines: usize) -> usize {
    let page = lines.saturating_sub(HEAD_LINES + FOOT_LINES);
    if page == 0 { 1 } else { page }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    let filter = Filter::parse(text);
    assert!(!filter.has_words() || !filter.terms.is_empty());
    assert!(filter.wrong.is_none_or(|why| !why.is_empty()));
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
        events.observe(vec![interval(1, all)], None, &numbers(), 20);
        events.listed.iter().map(|(_, nth)| u64::from(*nth) + 1).collect()
    }

    #[test]
    fn all_conditions_must_hold_and_what_cannot_be_read_is_told_and_left_out() {
        let table: [(&str, &[u64]); 21] = [
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
            ("name:IO-1 kind:wait", &[2, 1]),
            ("name:10", &[4, 1]),
            ("tid:9,11-12", &[3, 2]),
            ("node:1-8", &[3, 2]),
            ("!node:0-1", &[2]),
            ("\"load balance\"", &[3]),
            // While it is typed.
            ("tid:10 \"no such", &[4, 1]),
            ("nobody", &[]),
        ];
        for (filter, wanted) in table {
            assert_eq!(listed(filter), wanted, "{filter}");
        }
        let wrong = |typed| Filter::parse(typed).wrong.unwrap_or_default();
        assert_eq!(wrong("cpu:x"), "x is no list of numbers: cpu:1,4-7");
        assert_eq!(wrong("nmae:w"), "nmae: is no condition: name, tid, cpu, node, kind, slower");
        for typed in ["kind:", "kind:foo", "slower:1", "slower:-1ms", "name:", "tid:", "!", "\"a"] {
            assert!(!wrong(typed).is_empty(), "{typed}");
        }
        for typed in ["kworker/0:1", "\"nmae:w\"", ":", "10:21"] {
            assert_eq!(wrong(typed), "", "{typed}");
        }
    }

    #[test]
    fn the_chosen_event_stays_selected_when_others_come_and_when_it_goes_an_older_one_is() {
        let of = |number: u64| interval(number, (0..5).map(|n| event(number * 10 + n, 1, 0, wait(n + 1))).collect());
        let (numbers, mut events) = (numbers(), Events::default());
        events.observe(vec![of(1), of(2)], None, &numbers, 7);
        let time = |events: &Events| events.event(events.selected).map(|event| event.time_ns);
        assert_eq!(time(&events), Some(24));
        events.observe(vec![of(1), of(2), of(3)], None, &numbers, 7);
        assert_eq!(time(&events), Some(34), "the newest as long as none is chosen");
        (0..3).for_each(|_| _ = events.press(Key::Down, &numbers, 7));
        assert_eq!((time(&events), events.place()), (Some(31), (15, 3, 1)));
        events.observe(vec![of(2), of(3), of(4)], None, &numbers, 7);
        assert_eq!((time(&events), events.place().1), (Some(31), 8));
        events.observe(vec![of(4), of(5)], None, &numbers, 7);
        assert_eq!(time(&events), Some(40), "what is left of the oldest");
        assert_eq!(events.press(Key::Enter, &numbers, 7), Asked::Open(ThreadKey { tid: Tid(1), born: 7 }));
        _ = events.press(Key::Home, &numbers, 7);
        events.observe(vec![of(4), of(6)], None, &numbers, 7);
        assert_eq!(time(&events), Some(64));
    }
}
