//! A fluid model of a queue: work comes in over each interval, so many CPUs take it away, and what is left waits for the next.

use super::demand::Interval;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    /// Time that threads waited, summed over them.
    pub(super) wait_ns: u64,
    /// Time of the intervals in which more CPUs were wanted than there are.
    pub(super) above_ns: u64,
    /// Time on CPU that is left at the end.
    pub(super) undone_ns: u64,
}

/// In each interval the work that was left and the time on CPU that was used in it are to be done, and as many CPUs do it as
/// there are. Threads that want a CPU are those that wanted one then, and those that the work that was left takes within the
/// interval, but never more than wanted one at the worst time: nobody else is there. Those beyond the CPUs wait.
pub(super) fn queue(intervals: &[Interval], quota_cpus: Option<f64>, cpus: f64) -> Queue {
    let most = intervals.iter().map(|interval| interval.wanted(quota_cpus)).fold(0.0, f64::max);
    let (mut undone, mut wait, mut above) = (0.0f64, 0.0f64, 0u64);
    for interval in intervals.iter().filter(|interval| interval.length_ns > 0) {
        let length = interval.length_ns as f64;
        let wanted = interval.wanted(quota_cpus);
        if wanted > cpus {
            above = above.saturating_add(interval.length_ns);
        }
        let with_undone = (wanted + undone / length).min(most);
        wait += (with_undone - cpus).max(0.0) * length;
        undone = (undone + interval.cpu_ns as f64 - cpus * length).max(0.0);
    }
    // What is more than a number can hold is as much as it can.
    Queue { wait_ns: wait.round() as u64, above_ns: above, undone_ns: undone.round() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// Intervals of a second: time on CPU and time waiting in each, seconds.
    fn seconds(all: &[(u64, u64)]) -> Vec<Interval> {
        all.iter().map(|(cpu, wait)| Interval { length_ns: S, cpu_ns: cpu * S, wait_ns: wait * S }).collect()
    }

    #[test]
    fn a_burst_is_worked_off_in_the_intervals_after_it() {
        // Two CPUs. 4 wanted: 2 wait, 2 s are left. 1 wanted and 2 s left: 3 want, 1 waits, 1 s is left. It is done in the third.
        let made = queue(&seconds(&[(4, 0), (1, 0), (0, 0), (1, 0)]), None, 2.0);
        assert_eq!(made, Queue { wait_ns: 3 * S, above_ns: S, undone_ns: 0 });
        // With enough CPUs nobody waits.
        assert_eq!(queue(&seconds(&[(4, 0), (1, 0), (0, 0), (1, 0)]), None, 4.0), Queue::default());
    }

    #[test]
    fn as_many_wait_as_there_are_and_the_rest_is_done_later() {
        // Three threads that compute all the time, on one CPU: two always wait, and of each second two are left.
        let made = queue(&seconds(&[(3, 0); 4]), None, 1.0);
        assert_eq!(made, Queue { wait_ns: 8 * S, above_ns: 4 * S, undone_ns: 8 * S });
        // Half as long intervals: the same.
        let half = Interval { length_ns: S / 2, cpu_ns: 3 * S / 2, wait_ns: 0 };
        assert_eq!(queue(&[half; 8], None, 1.0), made);
    }

    #[test]
    fn those_that_wait_already_want_a_cpu_too() {
        // Two ran and two waited: on two CPUs as before, nothing is left.
        let made = queue(&seconds(&[(2, 2), (2, 2)]), None, 2.0);
        assert_eq!(made, Queue { wait_ns: 4 * S, above_ns: 2 * S, undone_ns: 0 });
        // On one CPU three wait.
        assert_eq!(queue(&seconds(&[(2, 2), (2, 2)]), None, 1.0).wait_ns, 6 * S);
        // A quota made them wait, not the CPUs: none of it is counted.
        assert_eq!(queue(&seconds(&[(2, 2), (2, 2)]), Some(2.0), 2.0), Queue::default());
    }

    #[test]
    fn no_numbers_make_it_panic() {
        let worst = Interval { length_ns: 1, cpu_ns: u64::MAX, wait_ns: u64::MAX };
        let made = queue(&[worst, worst, Interval::default()], None, 0.0);
        assert_eq!((made.wait_ns, made.undone_ns), (u64::MAX, u64::MAX));
        assert_eq!(queue(&[], Some(1.0), 1.0), Queue::default());
    }
}
