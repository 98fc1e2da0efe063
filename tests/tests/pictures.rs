//! The pictures in docs/pictures are what the dashboard draws.

use numatrace_tests::gallery;

#[test]
fn pictures_are_what_the_dashboard_draws() {
    let complaints = gallery::complaints(&gallery::folder()).expect("a folder that can be read");
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), gallery::REMEDY);
}
