use super::keys::MAX_KEPT;
use super::*;
use crate::snapshot::ThreadStats;
use crate::tui::layout::COLUMNS;
use crate::tui::state::Key;
use crate::units::Tid;

fn thread(tid: u32, comm: &str, cgroup: &str, wait_ns: u64) -> Thread {
    Thread {
        tid: Tid(tid),
        comm: comm.into(),
        cgroup: Some(cgroup.into()),
        stats: ThreadStats { wait_ns, cpu_ns: 1_000, ..ThreadStats::default() },
        ..Thread::default()
    }
}

fn snapshot() -> Snapshot {
    let threads = vec![
        thread(1, "io", "/web.slice/a", 10),
        thread(2, "gc", "/web.slice/a", 70),
        thread(3, "io", "/web.slice/b", 30),
        thread(4, "io", "/db", 20),
    ];
    Snapshot { threads, duration_ns: 1_000_000_000, ..Snapshot::nothing_yet("pid 1") }
}

fn table(by: Option<GroupBy>) -> (Table, Snapshot) {
    let (mut table, numbers) = (Table::new(80, 24), snapshot());
    table.observe(&numbers, &numbers.clone().into(), by);
    (table, numbers)
}

fn press(table: &mut Table, numbers: &Snapshot, keys: &str) {
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\x1b' => Key::Esc,
            key => Key::Char(key),
        };
        table.press(key, numbers);
    }
}

/// Mark, name and id of each row, the selected one with `>`.
fn told(table: &Table, numbers: &Snapshot) -> Vec<String> {
    let entry = |place| table.entry(place, numbers).expect("a row that is listed");
    let row = |entry: Entry<'_>| {
        let selected = if entry.selected { ">" } else { " " };
        format!("{selected}{}{}{} {}", entry.marked.sign(), entry.lead, entry.name, entry.id)
    };
    (0..table.order().len()).map(|place| row(entry(place))).collect()
}

#[test]
fn groups_fold_and_what_a_fold_hides_is_found_in_its_group() {
    let (mut table, numbers) = table(Some(GroupBy::Comm));
    assert_eq!(told(&table, &numbers), [">  ▸ gc ×1", "   ▸ io ×3"].map(|row| row.replacen("  ", " ", 1)));
    press(&mut table, &numbers, "j\n");
    assert_eq!(told(&table, &numbers), ["  ▸ gc ×1", "> ▾ io ×3", "    io 3", "    io 4", "    io 1"]);
    // A thread in the group, which then is folded: the group is selected, and the thread again when it is not.
    press(&mut table, &numbers, "jz");
    assert_eq!(told(&table, &numbers), ["  ▸ gc ×1", "> ▸ io ×3"]);
    press(&mut table, &numbers, "zjjS");
    assert_eq!(told(&table, &numbers), ["  ▾ io ×3", "    io 1", ">   io 4", "    io 3", "  ▸ gc ×1"]);
    press(&mut table, &numbers, "ZZ");
    assert_eq!(told(&table, &numbers), ["> ▸ io ×3", "  ▸ gc ×1"]);
}

#[test]
fn cgroups_are_a_tree_that_is_sorted_level_by_level() {
    let (mut table, numbers) = table(Some(GroupBy::Cgroup));
    press(&mut table, &numbers, "Z");
    let rows = [
        "> ▾ /web.slice ×3",
        "    ▾ a ×2",
        "      gc 2",
        "      io 1",
        "    ▾ b ×1",
        "      io 3",
        "  ▾ /db ×1",
        "    io 4",
    ];
    assert_eq!(told(&table, &numbers), rows);
    // What does not match is gone, with the groups that have nothing else.
    press(&mut table, &numbers, "/gc\n");
    assert_eq!(told(&table, &numbers), ["> ▾ /web.slice ×1/3", "    ▾ a ×1/2", "      gc 2"]);
    assert_eq!((table.matching(), table.matching_groups()), (1, 2));
    press(&mut table, &numbers, "\x1b");
    assert_eq!(told(&table, &numbers), rows);
}

#[test]
fn marks_stay_across_sorting_filters_groups_and_snapshots() {
    let (mut table, numbers) = table(None);
    press(&mut table, &numbers, "jmS");
    assert_eq!(told(&table, &numbers), ["  io 1", "  io 4", ">*io 3", "  gc 2"]);
    press(&mut table, &numbers, "/marked\n");
    assert_eq!(told(&table, &numbers), [">*io 3"]);
    press(&mut table, &numbers, "\x1b");
    table.observe(&numbers, &numbers.clone().into(), Some(GroupBy::Comm));
    assert_eq!(
        told(&table, &numbers),
        ["  ▸ gc ×1", ">+▸ io ×3"].map(String::from).into_iter().rev().collect::<Vec<_>>()
    );
    // A group marks all its threads, and takes the marks away where all have one.
    press(&mut table, &numbers, "m");
    assert_eq!((told(&table, &numbers)[0].as_str(), table.marked()), (">*▸ io ×3", 3));
    let later = Snapshot { threads: numbers.threads[1..].to_vec(), ..snapshot() };
    table.observe(&later, &later.clone().into(), None);
    assert_eq!(told(&table, &later), [">*io 4", " *io 3", "  gc 2"].map(str::to_owned));
    assert_eq!(table.marked(), 2);
    table.observe(&numbers, &numbers.clone().into(), None);
    assert_eq!((table.marked(), table.mark_width()), (3, 2), "one that comes back has its mark still");
    press(&mut table, &numbers, "u");
    assert_eq!((table.marked(), table.mark_width()), (0, 1));
}

#[test]
fn a_filter_that_is_none_leaves_the_last_good_one_in_force() {
    let (mut table, numbers) = table(None);
    press(&mut table, &numbers, "/io wait>");
    assert_eq!(table.typed(), Some(("io wait>", Some("wait> needs a share: 50%, 0.5"))));
    assert_eq!((table.filter_text(), table.order().len()), ("io", 3));
    // Enter does not keep what is wrong.
    press(&mut table, &numbers, "\n1%\n");
    assert_eq!((table.typed(), table.filter_text(), table.order().len()), (None, "io wait>1%", 2));
    // While a name of a column is typed nobody is gone; kept as it is, it is a text like any other.
    press(&mut table, &numbers, "/ runq.p9");
    assert_eq!((table.typed().map(|typed| typed.1), table.order().len()), (Some(None), 2));
    press(&mut table, &numbers, "\n");
    assert_eq!((table.filter_text(), table.order().len()), ("io wait>1% runq.p9", 0));
    press(&mut table, &numbers, "\x1b/io wait>1%\n");
    // It is typed on from where it is.
    press(&mut table, &numbers, "/ tid:3\n");
    assert_eq!((table.filter_text(), table.order().len()), ("io wait>1% tid:3", 1));
}

#[test]
fn columns_are_chosen_and_the_tree_keeps_its_names() {
    let (mut table, numbers) = table(None);
    press(&mut table, &numbers, "cjj 0");
    assert_eq!(table.own_columns(), None);
    press(&mut table, &numbers, "KJJ \n");
    // The first one went down twice and is left out.
    let own = table.own_columns().expect("a choice").to_vec();
    assert!(!own.contains(&Column::Tid) && own[..2] == [Column::Name, Column::State], "{own:?}");
    table.set_columns(vec![Column::P99, Column::Cgroup, Column::P99]);
    assert_eq!(table.own_columns(), Some(&[Column::P99, Column::Cgroup][..]));
    table.observe(&numbers, &numbers.clone().into(), Some(GroupBy::Comm));
    assert_eq!(table.columns()[0].column, Column::Name);
    table.set_columns(Vec::new());
    assert_eq!(table.own_columns(), None);
}

#[test]
fn the_selected_row_is_copied_or_those_that_are_marked() {
    let (mut table, numbers) = table(None);
    table.set_columns(vec![Column::Name, Column::Tid, Column::Waited, Column::Cgroup]);
    assert_eq!(table.press(Key::Char('y'), &numbers), Asked::Copy);
    assert_eq!(table.copied(&numbers).text, "name  tid  waited  cgroup\ngc      2    70ns  /web.slice/a\n");
    press(&mut table, &numbers, "jmjm");
    let copied = table.copied(&numbers);
    let text = "name  tid  waited  cgroup\nio      3    30ns  /web.slice/b\nio      4    20ns  /db\n";
    assert_eq!((copied.text.as_str(), copied.rows, copied.of), (text, 2, 2));
    let (empty, nothing) = (Table::new(80, 24), Snapshot::nothing_yet("pid 1"));
    assert_eq!(empty.copied(&nothing).rows, 0);
}

#[test]
fn names_of_a_tree_take_what_is_free_and_no_more() {
    for width in 1..300 {
        for by in [GroupBy::Comm, GroupBy::Cgroup] {
            let numbers = snapshot();
            let mut table = Table::new(width, 24);
            table.observe(&numbers, &numbers.clone().into(), Some(by));
            let used: u16 = table.columns().iter().map(|placed| placed.width + 1).sum();
            assert!(used <= width.max(2), "{used} of {width}");
        }
    }
}

#[test]
fn every_column_sorts_both_ways_and_those_that_ended_come_last() {
    let (mut table, mut numbers) = table(None);
    numbers.threads[1].exited = true;
    for by in [None, Some(GroupBy::Comm), Some(GroupBy::Cgroup)] {
        table.observe(&numbers, &numbers.clone().into(), by);
        press(&mut table, &numbers, "ZZZ");
        for (spec, descending) in COLUMNS.iter().flat_map(|spec| [(spec, true), (spec, false)]) {
            table.sort = Sort { column: spec.column, descending };
            table.list(&numbers);
            let tids = |entry: Entry<'_>| (entry.thread.members == 0).then_some(entry.thread.tid.0);
            let order: Vec<u32> =
                (0..table.order().len()).filter_map(|place| tids(table.entry(place, &numbers)?)).collect();
            assert_eq!(order.len(), 4, "{}", spec.key);
            // Thread 2 is in a group with thread 1, or alone in one, which then comes last as a whole.
            let last = if by == Some(GroupBy::Cgroup) { order.iter().position(|tid| *tid == 1) } else { Some(2) };
            assert_eq!(order.iter().position(|tid| *tid == 2), last.map(|last| last + 1), "{}: {order:?}", spec.key);
        }
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let (mut table, numbers) = table(None);
    table.marks.extend((0..=MAX_KEPT as u64).map(|born| ThreadKey { tid: Tid(9), born }));
    press(&mut table, &numbers, "m");
    assert_eq!((table.marks.len(), table.marked()), (1, 1));
}
