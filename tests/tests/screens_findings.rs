//! Findings and CPU quotas as a person reads them: see `numatrace_tests::found` and `numatrace_tests::screens`.

use std::sync::Arc;

use numatrace::snapshot::{Finding, Snapshot};
use numatrace::tui::app::App;
use numatrace::tui::history::History;
use numatrace::tui::layout::HEADER_LINES;
use numatrace::tui::state::{Action, Key, Notice, Tab};
use numatrace::tui::{Options, UiMessage};
use numatrace_tests::fixture;
use numatrace_tests::found::{Board, findings};
use numatrace_tests::screens::{app, check, press, screen, show};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 9)];

fn board(size: (u16, u16), count: usize) -> Board {
    let mut board = Board::new(size, fixture::snapshot_two_nodes());
    board.find(findings(count));
    board
}

/// The id of the selected one.
fn selected(board: &Board) -> Option<&str> {
    let found = board.state.found();
    found.selected().map(|at| found.all()[at].id.as_str())
}

#[test]
fn they_come_before_all_numbers_and_leave_room_for_these() {
    for size in SIZES {
        for count in [0, 2, 12] {
            board(size, count).check(&format!("list-of-{count}"));
        }
    }
    let shown = board((80, 24), 0).screen();
    assert!(!shown.contains("Findings") && shown.lines().nth(3).is_some_and(|line| line.starts_with("Run-queue")));
}

#[test]
fn the_selected_one_stays_in_view_and_the_keys_go_on_to_the_numbers() {
    for size in SIZES {
        let mut board = board(size, 12);
        for at in 0..12 {
            assert_eq!((board.state.found().selected(), board.state.page().0), (Some(at), 0));
            let title: String = board.state.found().all()[at].title.chars().take(12).collect();
            let mark = board.screen().lines().filter(|line| line.starts_with('>')).collect::<String>();
            assert!(mark.contains(&title), "{title} is not in {mark}");
            board.press(Key::Down);
        }
        // There is no further one: now it scrolls, where there is anything to scroll, and comes back the same way.
        let scrolls = size != (120, 40);
        assert_eq!((board.state.found().selected(), board.state.page().0), (Some(11), usize::from(scrolls)));
        if scrolls {
            board.press(Key::Char('k'));
        }
        assert_eq!((board.state.found().selected(), board.state.page().0), (Some(11), 0));
        board.press(Key::Up);
        assert_eq!(board.state.found().selected(), Some(10));
        board.press(Key::PageDown);
        assert!((board.state.page().0 > 0) == scrolls && board.state.found().selected() == Some(10));
        board.press(Key::Home);
        assert_eq!((board.state.found().selected(), board.state.page().0), (Some(0), 0));
    }
    let mut board = board((80, 24), 12);
    (0..7).for_each(|_| _ = board.press(Key::Down));
    board.check("list-of-12-eighth");
}

#[test]
fn enter_opens_one_with_its_evidence_and_esc_goes_back() {
    for size in SIZES {
        let mut board = board(size, 12);
        assert_eq!(board.press(Key::Enter), Action::Draw);
        board.check("page");
        board.press(Key::Right);
        assert_eq!(board.state.found().opened().map(|one| one.id.as_str()), Some("made-up-remote"));
        board.press(Key::Left);
        board.press(Key::End);
        board.check("page-end");
        board.press(Key::Esc);
        assert!(board.state.found().opened().is_none() && board.state.tab() == Tab::Overview);
        board.check("list-of-12");
    }
}

#[test]
fn the_page_is_live_and_says_when_what_it_shows_is_gone() {
    let mut board = board((80, 24), 12);
    board.press(Key::Down);
    board.press(Key::Enter);
    let mut newer = findings(12);
    newer[1].title = "82% of the page touches of io_thd_1 are remote.".into();
    board.find_later(newer);
    assert!(board.screen().contains("82% of the page touches"), "{}", board.screen());
    board.find_later(findings(2));
    board.check("page-of-one-that-is-gone");
    let shown = board.screen();
    assert!(shown.contains("! Gone") && shown.contains("as of 11.0s") && shown.contains("82% of the page touches"));
    board.find_later(findings(12));
    assert!(!board.screen().contains("Gone"), "{}", board.screen());
    // Another view, and back: the list.
    board.press(Key::Char('2'));
    board.press(Key::Char('1'));
    assert!(board.state.found().opened().is_none());
    assert_eq!(selected(&board), Some("made-up-remote"));
}

#[test]
fn where_nothing_was_found_enter_goes_to_the_threads() {
    let mut board = board((80, 24), 0);
    assert_eq!((board.press(Key::Char('y')), board.press(Key::Enter)), (Action::None, Action::Draw));
    assert_eq!(board.state.tab(), Tab::Threads);
}

#[test]
fn the_command_is_copied_as_it_is_and_not_run_by_being_pasted() {
    let mut board = board((80, 24), 12);
    assert_eq!(board.press(Key::Char('y')), Action::Copy);
    assert_eq!(board.state.clipboard(), "systemctl set-property redis.service CPUQuota=300%");
    assert!(board.screen().contains("sent the command to the terminal's clipboard"));
    let without = board.state.found().all().iter().position(|one| one.command.is_none()).expect("one without");
    (0..without).for_each(|_| _ = board.press(Key::Down));
    board.press(Key::Enter);
    assert_eq!(board.press(Key::Char('y')), Action::Draw);
    assert!(matches!(board.state.notice(), Some(Notice::Failed(_))), "{:?}", board.state.notice());
    assert_eq!(board.state.clipboard(), "systemctl set-property redis.service CPUQuota=300%");
}

#[test]
fn a_click_selects_and_another_one_opens() {
    let mut board = board((80, 24), 12);
    let line =
        |board: &Board, title: &str| board.screen().lines().position(|line| line.contains(title)).expect(title) as u16;
    let row = line(&board, "io_thd_1 goes from node");
    assert_eq!(board.press(Key::Click { column: 30, row }), Action::Draw);
    assert_eq!((selected(&board), board.state.found().opened()), (Some("made-up-hops"), None));
    let row = line(&board, "io_thd_1 goes from node");
    board.press(Key::Click { column: 30, row });
    assert_eq!(board.state.found().opened().map(|one| one.id.as_str()), Some("made-up-hops"));
    // On its page, on the heading and on numbers there is nothing to click at.
    assert_eq!(board.press(Key::Click { column: 3, row }), Action::None);
    board.press(Key::Esc);
    for row in [HEADER_LINES, line(&board, "Run-queue latency"), 23] {
        assert_eq!(board.press(Key::Click { column: 3, row }), Action::None, "{row}");
    }
}

#[test]
fn other_views_have_the_number_of_bad_ones_in_their_header() {
    let mut board = board((80, 24), 12);
    board.press(Key::Char('4'));
    assert!(board.screen().lines().nth(1).is_some_and(|line| line.starts_with("! 2 critical  ! 6 warn  sources")));
    let mut narrow = self::board((40, 9), 12);
    narrow.press(Key::Char('4'));
    assert!(narrow.screen().lines().nth(1).is_some_and(|line| line.starts_with("! 2 critical  sources")));
}

/// The rule of machines with one node speaks on them, and on no others.
fn one_node(duration_ns: u64) -> Snapshot {
    Snapshot { duration_ns, ..fixture::snapshot_many_nodes(1) }
}

fn found(app: &App) -> Vec<&str> {
    app.state().found().all().iter().map(|finding: &Finding| finding.id.as_str()).collect()
}

const S: u64 = 1_000_000_000;

#[test]
fn the_rules_are_asked_for_every_snapshot_with_the_numbers_of_the_window() {
    let mut app = App::new(&Options::new("pid 4711 (redis-server)"), 120, 40);
    assert!(found(&app).is_empty());
    show(&mut app, one_node(10 * S));
    assert!(found(&app).contains(&"single-node"), "{:?}", found(&app));
    app.press(Key::Enter);
    while app.state().found().opened().is_some_and(|one| one.id != "single-node") {
        app.press(Key::Right);
    }
    let shown = screen(&mut app, 120, 40);
    assert!(shown.contains("single-node") && shown.contains("Evidence  since the start"), "{shown}");
    let of = |app: &App, name: &str| app.state().found().opened().expect("opened").evidence[name].as_u64();
    assert_eq!(of(&app, "cpu_ns"), Some(app.numbers().totals.cpu_ns));
    // Of the last interval, in which nothing was used, there is nothing to say.
    show(&mut app, one_node(11 * S));
    assert!(!app.state().found().is_gone());
    app.press(Key::Char('i'));
    assert!(app.state().found().is_gone(), "another window is looked at anew");
    assert!(screen(&mut app, 120, 40).contains("! Gone"));
    app.press(Key::Char('i'));
    app.press(Key::Char('i'));
    app.press(Key::Char('i'));
    assert!(!app.state().found().is_gone());
}

#[test]
fn after_a_jump_and_when_going_back_numbers_are_looked_at_anew() {
    let of = |nodes: u32, at: u64| Snapshot { duration_ns: at, ..fixture::snapshot_many_nodes(nodes) };
    let mut app = App::new(&Options::new("pid 4711 (redis-server)"), 80, 24);
    show(&mut app, of(2, 10 * S));
    assert!(!found(&app).contains(&"single-node"));
    show(&mut app, of(1, 11 * S));
    assert!(found(&app).contains(&"single-node"));
    show(&mut app, of(2, 12 * S));
    assert!(found(&app).contains(&"single-node"), "it stays for a while");
    // Back, and forward again.
    press(&mut app, &[Key::Char(','), Key::Char(',')]);
    assert!(!found(&app).contains(&"single-node"));
    press(&mut app, &[Key::Char('.')]);
    assert!(found(&app).contains(&"single-node"));
    let mut history = History::default();
    history.push(Arc::new(of(2, 12 * S)));
    app.tell(UiMessage::Jumped(Box::new(history)));
    app.press(Key::Char(' '));
    assert!(!found(&app).contains(&"single-node"));
}

#[test]
fn a_rule_that_is_off_finds_nothing() {
    let mut app = app(80, 24);
    show(&mut app, one_node(10 * S));
    assert!(found(&app).is_empty());
}

fn throttled(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    (0..=1).for_each(|second| show(&mut app, fixture::snapshot_throttled_after(second)));
    app
}

#[test]
fn what_a_quota_takes_is_in_every_view_that_tells_of_waits() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (40, 9)] {
        let mut app = throttled(width, height);
        for (view, digit) in [("overview", '1'), ("thread", '3'), ("nodes", '4')] {
            app.press(Key::Char(digit));
            check(&format!("findings/quota-{view}-{width}x{height}"), &mut app, width, height);
        }
        press(&mut app, &[Key::Char('1'), Key::End]);
        check(&format!("findings/quota-overview-end-{width}x{height}"), &mut app, width, height);
        press(&mut app, &[Key::Char('4'), Key::End]);
        check(&format!("findings/quota-nodes-end-{width}x{height}"), &mut app, width, height);
    }
}

#[test]
fn no_quota_is_told_as_none_and_not_as_unknown() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut app = app(width, height);
        show(&mut app, fixture::snapshot_without_quota());
        press(&mut app, &[Key::Char('1'), Key::End]);
        check(&format!("findings/no-quota-{width}x{height}"), &mut app, width, height);
    }
}

#[test]
fn threads_are_sorted_and_filtered_by_what_a_quota_and_strangers_took() {
    use numatrace::tui::layout::Column;
    use numatrace_tests::screens::type_in;
    let mut app = throttled(80, 24);
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "throttled>15% strangers>5%");
    press(&mut app, &[Key::Enter]);
    let names = |app: &App| -> Vec<String> {
        app.state().order().iter().map(|at| app.numbers().threads[*at].comm.to_string()).collect()
    };
    assert_eq!(names(&app), ["io_thd_1"]);
    let shown = screen(&mut app, 80, 24);
    assert!(!shown.contains("throttl%"), "a narrow terminal has it only where it was chosen: {shown}");
    press(&mut app, &[Key::Esc]);
    let wanted = vec![Column::Tid, Column::Name, Column::Wait, Column::Throttled, Column::Strangers];
    let preferences = numatrace::tui::Preferences {
        columns: wanted,
        sort: numatrace::tui::rows::Sort::by(Column::Throttled),
        ..Default::default()
    };
    let preferences = numatrace_tests::screens::without_rules(preferences);
    let options = Options { preferences, ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, 80, 24);
    app.press(Key::Char('2'));
    show(&mut app, fixture::snapshot_throttled());
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("throttl%▼") && shown.contains("strang%"), "{shown}");
    assert_eq!(names(&app)[0], "io_thd_1");
    assert!(
        shown.lines().any(|line| line.contains("io_thd_1") && line.contains("20.0%") && line.contains("10.0%")),
        "{shown}"
    );
}
