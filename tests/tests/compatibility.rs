//! docs/compatibility.md says what the results of the kernels say.

use numatrace_tests::{compatibility, golden};

#[test]
fn page_is_made_of_the_results() {
    golden::check("../../docs/compatibility.md", &compatibility::page(&compatibility::all().unwrap()));
}
