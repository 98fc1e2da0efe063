//! A dashboard in which anything can be found, whatever the rules are: the state of the dashboard without the loop that asks
//! them. See also [`crate::screens`].

use numatrace::snapshot::{Finding, Snapshot};
use numatrace::tui::state::{Action, Key, Shown, UiState, update};
use numatrace::tui::theme::{Depth, Theme};
use numatrace::tui::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde_json::{Value, json};

use crate::screens;

/// See the module.
pub struct Board {
    /// What is shown.
    pub state: UiState,
    numbers: Snapshot,
    theme: Theme,
    size: (u16, u16),
}

impl Board {
    /// A dashboard of this size with the Overview, with these numbers and rates, in which nothing was found.
    pub fn new((width, height): (u16, u16), numbers: Snapshot) -> Board {
        let state = UiState::new(width, height);
        let mut board = Board { state, numbers, theme: Theme::new(Depth::Indexed), size: (width, height) };
        board.find(Vec::new());
        board
    }

    /// This was found in the numbers.
    pub fn find(&mut self, findings: Vec<Finding>) {
        let shown = Shown {
            rates: self.numbers.clone().into(),
            p99s: Vec::new(),
            now_ns: self.numbers.duration_ns,
            record_rate: None,
            events: Vec::new(),
            events_from: None,
            findings,
            findings_of_ns: None,
        };
        self.state.observe(&self.numbers, shown);
    }

    /// A second passes, and this is found.
    pub fn find_later(&mut self, findings: Vec<Finding>) {
        self.numbers.duration_ns += 1_000_000_000;
        self.find(findings);
    }

    /// Presses a key.
    pub fn press(&mut self, key: Key) -> Action {
        update(&mut self.state, key, &self.numbers)
    }

    /// The terminal has another size.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.state.resize(width, height, &self.numbers);
    }

    /// The numbers that are shown.
    pub fn numbers(&self) -> &Snapshot {
        &self.numbers
    }

    /// The screen.
    ///
    /// # Panics
    /// Never: a test terminal does not fail.
    pub fn draw(&self) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).expect("a test terminal");
        let draw = |frame: &mut ratatui::Frame<'_>| {
            view::render(frame, frame.area(), &self.numbers, &self.state, &self.theme);
        };
        terminal.draw(draw).expect("a test terminal never fails");
        terminal.backend().buffer().clone()
    }

    /// The screen as text.
    pub fn screen(&self) -> String {
        screens::text(&self.draw())
    }

    /// Compares with the stored screen, as [`screens::check`].
    pub fn check(&self, name: &str) {
        let (buffer, (width, height)) = (self.draw(), self.size);
        screens::same(&format!("findings/{name}-{width}x{height}.txt"), &screens::text(&buffer));
        screens::same(&format!("findings/{name}-{width}x{height}.styles"), &screens::styles(&buffer));
    }
}

/// Made up, worst first; at most 12.
pub fn findings(count: usize) -> Vec<Finding> {
    let mut all: Vec<Finding> = ALL.iter().take(count).map(Made::finding).collect();
    all.sort_by_key(|finding| match finding.severity.as_str() {
        "critical" => 0,
        "warn" => 1,
        _ => 2,
    });
    all
}

/// What a finding is made of.
struct Made {
    id: &'static str,
    severity: &'static str,
    title: &'static str,
    command: Option<&'static str>,
}

impl Made {
    fn finding(&self) -> Finding {
        Finding {
            id: self.id.into(),
            severity: self.severity.into(),
            title: self.title.into(),
            about:
                "In general: a thread that is ready to run and does not get a CPU makes whoever waits for it wait too."
                    .into(),
            evidence: evidence(),
            advice: "Give the service more CPUs, or fewer threads; look again after a minute.".into(),
            command: self.command.map(Into::into),
        }
    }
}

fn evidence() -> Value {
    json!({
        "cgroup": "/kubepods.slice/kubepods-burstable.slice/pod4f1c/redis",
        "quota_cpus": 1.5,
        "runnable_threads": 2.146,
        "throttled_share": 0.8,
        "throttled_wait_ns": 2_881_500_000u64,
        "p99_ns": 45_000_000u64,
        "p99_without_quota_ns": 1_200_000u64,
        "free_bytes": 325_058_560u64,
        "known": null,
        "threads": [
            { "tid": 4713, "comm": "io_thd_1", "wait_ns": 4_100_000_000u64 },
            { "tid": 4720, "comm": "jemalloc_bg_thd", "wait_ns": 1_300_000_000u64 },
        ],
    })
}

const fn made(id: &'static str, severity: &'static str, title: &'static str, command: Option<&'static str>) -> Made {
    Made { id, severity, title, command }
}

const ALL: [Made; 12] = [
    made(
        "made-up-quota",
        "critical",
        "The CPU quota of /kubepods.slice/kubepods-burstable.slice/pod4f1c/redis stops the threads for half of the time that they \
         wait: 1.50 CPUs are allowed, and 2.15 threads want to run.",
        Some("systemctl set-property redis.service CPUQuota=300%"),
    ),
    made("made-up-fine", "info", "Page touches are local.", None),
    made("made-up-hops", "warn", "io_thd_1 goes from node to node 48 times a second.", Some("taskset -cp 0-3 4713")),
    made(
        "made-up-noise",
        "warn",
        "stress-ng-cpu (977) runs while redis-server waits: 37% of the time that its threads wait for a CPU.",
        None,
    ),
    made("made-up-affinity", "warn", "4 threads may use CPU 2 alone.", Some("taskset -acp 0-7 4711")),
    made("made-up-full", "warn", "Node 0 has 310MiB free, and 41,000 pages a second go to other nodes.", None),
    made(
        "made-up-remote",
        "critical",
        "81% of the page touches of io_thd_1 are remote.",
        Some("migratepages 4711 1 0"),
    ),
    made("made-up-policy", "info", "The heap is interleaved on nodes 0-1.", None),
    made("made-up-lost", "warn", "2% of the records were lost.", None),
    made("made-up-balancing", "warn", "NUMA balancing moves pages back and forth: 12,400 a second.", None),
    made("made-up-threads", "info", "6 threads share 8 CPUs.", None),
    made("made-up-limits", "info", "Where pages lie is not known: pagemap was not asked.", None),
];
