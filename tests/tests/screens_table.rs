//! The table of threads as a person sees it: groups that fold, columns that were chosen, filters, marks and what is copied.

use numatrace::snapshot::{Snapshot, ThreadState};
use numatrace::tui::app::App;
use numatrace::tui::filter::Filter;
use numatrace::tui::layout::{COLUMNS, Column};
use numatrace::tui::state::{Action, Key, Notice, Tab};
use numatrace::tui::theme::Depth;
use numatrace_tests::fixture;
use numatrace_tests::screens::{app, check, press, screen, show, type_in, with_theme};

/// As everywhere, and the smallest one with a row more.
const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (200, 60), (40, 10)];

/// A service in four cgroups, a second after another.
fn service(seconds: u32) -> Snapshot {
    let mut snapshot = fixture::snapshot_two_nodes_after(seconds);
    let more = fixture::snapshot_of_threads(14).threads.into_iter().map(|mut thread| {
        thread.comm = ["worker", "io", "gc"][thread.tid.0 as usize % 3].into();
        thread.cgroup = match thread.tid.0 % 5 {
            0 | 1 => Some("/web.slice/api.service".into()),
            2 => Some("/web.slice/cache.service".into()),
            3 => Some("/kubepods.slice/kubepods-burstable.slice/pod-4f1d2c.scope".into()),
            _ => None,
        };
        if thread.tid.0 % 7 == 0 {
            (thread.state, thread.exited) = (ThreadState::Exited, true);
        }
        thread
    });
    snapshot.threads.splice(0..0, more);
    snapshot.threads.iter_mut().filter(|thread| thread.tid.0 > 4_000).for_each(|thread| {
        thread.cgroup = Some("/redis.service".into());
    });
    snapshot
}

fn running(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    show(&mut app, service(0));
    show(&mut app, service(1));
    app
}

fn keys(app: &mut App, keys: &str) {
    type_in(app, keys);
}

/// Names of the listed rows.
fn names(app: &App) -> Vec<String> {
    let table = app.state().table();
    (0..table.order().len())
        .filter_map(|place| table.entry(place, app.numbers()))
        .map(|entry| entry.lead + entry.name)
        .collect()
}

fn selected(app: &App) -> String {
    let state = app.state();
    let place = state.selected().expect("a selection");
    let entry = state.table().entry(place, app.numbers()).expect("a row");
    entry.lead + entry.name
}

#[test]
fn threads_by_name() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        app.press(Key::Char('g'));
        check(&format!("tree-name-folded-{width}x{height}"), &mut app, width, height);
        press(&mut app, &[Key::Down, Key::Enter, Key::Down, Key::Down]);
        check(&format!("tree-name-{width}x{height}"), &mut app, width, height);
    }
}

#[test]
fn threads_by_cgroup() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        keys(&mut app, "gg");
        check(&format!("tree-cgroup-folded-{width}x{height}"), &mut app, width, height);
        keys(&mut app, "Zjj");
        check(&format!("tree-cgroup-{width}x{height}"), &mut app, width, height);
        keys(&mut app, "zd");
        assert_eq!(app.state().tab(), Tab::Thread);
        if width == 120 {
            check("tree-cgroup-detail-120x40", &mut app, width, height);
        }
    }
}

#[test]
fn columns_that_were_chosen() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        app.press(Key::Char('c'));
        check(&format!("columns-automatic-{width}x{height}"), &mut app, width, height);
        // Without tid, the 99th percentile first, and the last one of the list.
        keys(&mut app, " jjjjjKKKKK");
        press(&mut app, &[Key::End, Key::Char(' ')]);
        check(&format!("columns-chosen-{width}x{height}"), &mut app, width, height);
        app.press(Key::Enter);
        check(&format!("columns-shown-{width}x{height}"), &mut app, width, height);
        let chosen = app.state().own_columns().expect("a choice").to_vec();
        assert_eq!((chosen[0], chosen.last()), (Column::P99, Some(&Column::Strangers)));
        (0..40).for_each(|_| _ = app.press(Key::Right));
        assert_eq!(app.state().columns().last().map(|placed| placed.column), Some(Column::Strangers), "it is reached");
        keys(&mut app, "c0\x1b");
        press(&mut app, &[Key::Esc]);
        assert_eq!(app.state().own_columns(), None);
        assert_eq!(screen(&mut app, width, height), screen(&mut running(width, height), width, height));
    }
}

/// `q` quits from the list of columns, and keys that mean something elsewhere mean nothing in it.
#[test]
fn the_list_of_columns_takes_its_own_keys_alone() {
    let mut app = running(80, 24);
    app.press(Key::Char('c'));
    assert_eq!([Key::Tab, Key::Char('t'), Key::Char('2')].map(|key| app.press(key)), [Action::None; 3]);
    assert_eq!(app.press(Key::Char('q')), Action::Quit);
    assert_eq!(app.press(Key::Char('c')), Action::Draw);
    assert!(app.state().table().chooser().is_none());
}

#[test]
fn every_column_has_something_to_show() {
    let mut app = app(600, 40);
    for second in 0..=1 {
        let mut snapshot = fixture::snapshot_with_memory_after(second);
        fixture::throttle(&mut snapshot);
        show(&mut app, snapshot);
    }
    // All that are not there yet.
    app.press(Key::Char('c'));
    for _ in 0..COLUMNS.len() {
        let chooser = app.state().table().chooser().expect("the list of columns");
        if !chooser.entries()[chooser.at()].1 {
            app.press(Key::Char(' '));
        }
        app.press(Key::Down);
    }
    app.press(Key::Enter);
    assert_eq!(app.state().columns().len(), COLUMNS.len());
    check("columns-all-600x40", &mut app, 600, 40);
}

#[test]
fn filters() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        keys(&mut app, "/name:io node:1");
        check(&format!("filter-words-{width}x{height}"), &mut app, width, height);
        let listed = app.state().order().len();
        keys(&mut app, " runq.p98>1ms");
        check(&format!("filter-wrong-{width}x{height}"), &mut app, width, height);
        assert_eq!(app.state().order().len(), listed, "the last good one is in force");
        app.press(Key::Enter);
        assert!(app.state().editing(), "what is wrong is not kept");
        (0..7).for_each(|_| _ = app.press(Key::Backspace));
        keys(&mut app, "p99>1mz");
        check(&format!("filter-wrong-number-{width}x{height}"), &mut app, width, height);
        press(&mut app, &[Key::Backspace, Key::Char('s'), Key::Enter]);
        assert_eq!((app.state().filter(), app.state().editing()), ("name:io node:1 runq.p99>1ms", false));
        app.press(Key::Esc);
        assert_eq!(app.state().filter(), "");
    }
}

#[test]
fn a_filter_in_a_tree_leaves_the_groups_of_what_matches() {
    let mut app = running(80, 24);
    keys(&mut app, "ggZ/cgroup:web wait>5%");
    app.press(Key::Enter);
    check("tree-filtered-80x24", &mut app, 80, 24);
    assert!(names(&app).iter().all(|name| !name.contains("redis")));
}

#[test]
fn marks() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        keys(&mut app, "mjmjjm");
        check(&format!("marks-{width}x{height}"), &mut app, width, height);
        keys(&mut app, "gg");
        check(&format!("marks-in-groups-{width}x{height}"), &mut app, width, height);
        keys(&mut app, "g/marked");
        app.press(Key::Enter);
        assert_eq!((app.state().order().len(), app.state().table().marked()), (3, 3));
        keys(&mut app, "u");
        assert_eq!((app.state().order().len(), app.state().table().marked()), (0, 0));
    }
}

/// A mark is a sign: it is there without colour.
#[test]
fn marks_are_seen_without_colour() {
    let shown = [Depth::Mono, Depth::Indexed].map(|depth| {
        let mut app = with_theme(80, 24, depth);
        show(&mut app, service(0));
        keys(&mut app, "jmj");
        screen(&mut app, 80, 24)
    });
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].contains("\n * ") && shown[0].contains("1 marked"), "{}", shown[0]);
}

#[test]
fn selection_marks_and_folds_survive_what_happens() {
    let mut app = running(200, 60);
    keys(&mut app, "gg");
    // Below the first group that has another below it.
    keys(&mut app, "Z");
    let at = names(&app).iter().position(|name| name.starts_with("    ")).expect("a thread in a group in a group");
    (0..at).for_each(|_| _ = app.press(Key::Down));
    app.press(Key::Char('m'));
    let chosen = selected(&app);
    for _ in 0..app.state().columns().len() {
        keys(&mut app, "sS");
        assert_eq!((selected(&app), app.state().table().marked()), (chosen.clone(), 1));
    }
    let rows = names(&app).len();
    show(&mut app, service(2));
    assert_eq!((selected(&app), names(&app).len()), (chosen.clone(), rows));
    keys(&mut app, "/nobody");
    assert_eq!(app.state().selected(), None);
    app.press(Key::Esc);
    assert_eq!((selected(&app), names(&app).len()), (chosen.clone(), rows));
    // In no group, and by cgroup again: what was unfolded is.
    keys(&mut app, "g");
    assert_eq!(selected(&app), chosen.trim());
    keys(&mut app, "gg");
    assert_eq!((selected(&app), names(&app).len()), (chosen, rows));
}

#[test]
fn rows_are_copied_as_text() {
    let mut app = running(80, 24);
    assert_eq!(app.press(Key::Char('y')), Action::Copy);
    check("copied-80x24", &mut app, 80, 24);
    let one = app.state().clipboard().to_owned();
    assert_eq!(one.lines().count(), 2);
    assert!(
        one.lines().all(|line| line.trim_end() == line) && one.contains("runq.p99") && one.contains("io_thd_1"),
        "{one}"
    );
    keys(&mut app, "mjmjmy");
    assert_eq!(app.state().notice().map(Notice::words), Some("sent 3 rows to the terminal's clipboard"));
    numatrace_tests::screens::same("copied.txt", app.state().clipboard());
    app.press(Key::Down);
    assert_eq!(app.state().notice(), None, "the next key takes it away");
}

#[test]
fn nothing_is_copied_marked_or_folded_where_there_is_nothing() {
    let mut app = app(80, 24);
    for key in ['y', 'm', 'u', 'z', 'Z', 'd'] {
        assert_eq!(app.press(Key::Char(key)), Action::None, "{key}");
    }
}

#[test]
fn ten_thousand_threads_in_a_tree() {
    let mut app = app(80, 24);
    let mut snapshot = fixture::snapshot_of_threads(10_000);
    for thread in &mut snapshot.threads {
        thread.cgroup =
            Some(format!("/pods.slice/pod-{:02}.slice/c-{}.scope", thread.tid.0 % 40, thread.tid.0 % 400).into());
    }
    show(&mut app, snapshot);
    keys(&mut app, "gg");
    check("many-folded-80x24", &mut app, 80, 24);
    keys(&mut app, "Z");
    press(&mut app, &[Key::PageDown, Key::PageDown]);
    check("many-unfolded-80x24", &mut app, 80, 24);
    assert_eq!(app.state().order().len(), 10_000 + 400 + 40 + 1);
    keys(&mut app, "m");
    press(&mut app, &[Key::End, Key::Home]);
    keys(&mut app, "my");
    let notice = app.state().notice().map(Notice::words).unwrap_or_default();
    assert!(notice.starts_with("sent ") && notice.contains(" of 10,000"), "{notice}");
}

/// The reference of filters names every column, and its examples are filters.
#[test]
fn the_reference_of_filters_is_complete() {
    let reference = include_str!("../../docs/filter.md");
    for spec in COLUMNS {
        assert!(reference.contains(&format!("`{}`", spec.key)), "{} is not in docs/filter.md", spec.key);
    }
    for line in reference.lines().filter(|line| line.starts_with("    ")) {
        match line.trim().strip_prefix("filter: ").and_then(|line| line.split_once("  ")) {
            Some((typed, wrong)) => assert_eq!(Filter::parse(typed).expect_err(typed).to_string(), wrong),
            None => drop(Filter::parse(line).expect(line)),
        }
    }
}
