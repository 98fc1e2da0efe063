//! The records with which a recording begins that begins in the middle of a trace. Place in the flow: what the model knows,
//! as records again, so that a model that reads them and all that follow counts what happened since.

use numatrace_common::abi::{NO_TID, Task, task_event};
use zerocopy::IntoBytes;

use super::Model;
use super::thread::Tracked;

impl Model {
    /// Gives `sink` the records that stand in front of a recording that begins now, right after a tick: who lives, what had
    /// been counted of each, names, and the kernel side's counters.
    ///
    /// They are for a model whose `Meta::start_ns` is [`Model::now_ns`], and all records after the tick follow them. It then
    /// counts what this one does from here on. Cgroups, their quotas, the nodes' memory
    /// and attributes are not among them: have the source tell them again.
    pub fn opening(&self, sink: &mut dyn FnMut(&[u8])) {
        // Of one that died its last sums or its EXIT record may still come.
        for thread in self.table.iter().filter(|thread| !thread.listed) {
            sink(self.seen(thread).as_bytes());
            let totals = thread.base_totals(self.now_ns, self.before_ns);
            sink(totals.as_bytes());
            if let Some(throttled) = thread.base_throttled(&totals) {
                sink(throttled.as_bytes());
            }
        }
        for (tid, comm) in self.names.sorted() {
            let header = Task::header(self.now_ns, 0, 0);
            let name = Task { header, tid, event: task_event::NAME, comm: comm.raw(), ..Task::default() };
            sink(name.as_bytes());
        }
        self.placements.tell(sink);
        sink(self.loss.base_counters(self.now_ns).as_bytes());
        self.self_costs.tell(self.now_ns, sink);
    }

    fn seen(&self, thread: &Tracked) -> Task {
        Task {
            header: Task::header(self.now_ns, thread.cpu, 0),
            tid: thread.tid,
            tgid: thread.tgid,
            parent: NO_TID,
            event: task_event::SEEN,
            start_ns: thread.start_ns,
            comm: thread.comm.raw(),
            ..Task::default()
        }
    }
}

#[cfg(test)]
mod tests;
