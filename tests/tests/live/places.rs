//! Where in a program touches come from: programs of several compilers, with their symbols and without.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{Tracer, Workload};
use serde_json::Value;

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("where_names_the_function_that_touches", function),
    ("where_says_why_it_has_no_name", stripped),
    ("where_names_the_function_of_a_go_program", function_of_go),
    ("where_names_the_function_of_a_stripped_go_program", function_of_stripped_go),
];

/// The function of [`IN_C`] that touches.
const FUNCTION: &str = "touches_on_purpose";

/// A program with one function that touches; it speaks as workloads do.
const IN_C: &str = r#"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 2048, ROUNDS = 20 };

__attribute__((noinline)) void touches_on_purpose(volatile char *memory, long size) {
    for (long page = 0; page < PAGES; page++)
        memory[page * size] = 1;
}

int main(void) {
    char line[16];
    long size = sysconf(_SC_PAGESIZE);
    printf("{\"ready\":true,\"pid\":%d,\"tids\":{\"toucher\":%d}}\n", getpid(), getpid());
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(0, PAGES * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || madvise(memory, PAGES * size, MADV_NOHUGEPAGE))
            return 2;
        touches_on_purpose(memory, size);
        munmap(memory, PAGES * size);
    }
    printf("{\"done\":true,\"threads\":{},\"facts\":{\"touches\":%d}}\n", PAGES * ROUNDS);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) ? 0 : 3;
}
"#;

/// The function of [`IN_GO`] that touches.
const FUNCTION_OF_GO: &str = "main.touchesOnPurpose";

/// The same in Go, where a stripped program still has its table of functions.
const IN_GO: &str = r#"
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

const pages, rounds, noHugePage = 2048, 20, 15

//go:noinline
func touchesOnPurpose(memory []byte, size int) {
	for page := 0; page < pages; page++ {
		memory[page*size] = 1
	}
}

func main() {
	runtime.LockOSThread()
	input, size := bufio.NewReader(os.Stdin), os.Getpagesize()
	fmt.Printf("{\"ready\":true,\"pid\":%d,\"tids\":{\"toucher\":%d}}\n", os.Getpid(), syscall.Gettid())
	if _, err := input.ReadString('\n'); err != nil {
		panic(err)
	}
	for round := 0; round < rounds; round++ {
		memory, err := syscall.Mmap(-1, 0, pages*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			panic(err)
		}
		if err := syscall.Madvise(memory, noHugePage); err != nil {
			panic(err)
		}
		touchesOnPurpose(memory, size)
		if err := syscall.Munmap(memory); err != nil {
			panic(err)
		}
	}
	fmt.Printf("{\"done\":true,\"threads\":{},\"facts\":{\"touches\":%d}}\n", pages*rounds)
	if _, err := input.ReadString('\n'); err != nil {
		panic(err)
	}
}
"#;

/// Compiles [`IN_C`], with these flags more; `None`, which is said, where there is no compiler.
fn compiled(scratch: &Path, flags: &[&str]) -> Result<Option<PathBuf>> {
    let (source, program) = (scratch.join("touches.c"), scratch.join("touches-of-c"));
    fs::write(&source, IN_C)?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&program).arg(&source).args(flags);
    Ok(ran(cc, "C compiler")?.then_some(program))
}

/// Compiles [`IN_GO`], with these flags for its linker; `None`, which is said, where there is no compiler.
fn compiled_go(scratch: &Path, linker_flags: &str) -> Result<Option<PathBuf>> {
    let (source, program) = (scratch.join("touches.go"), scratch.join("touches-of-go"));
    fs::write(&source, IN_GO)?;
    let mut go = Command::new("go");
    go.args(["build", "-ldflags", linker_flags, "-o"]).arg(&program).arg(&source);
    // What it keeps for the next time has no place in anybody's home.
    go.env("GOCACHE", scratch.join("cache")).env("GOTOOLCHAIN", "local").env("GO111MODULE", "off").current_dir(scratch);
    Ok(ran(go, "Go compiler")?.then_some(program))
}

/// Runs a compiler; `false`, which is said, where there is none.
fn ran(mut compiler: Command, what: &str) -> Result<bool> {
    match compiler.stdin(Stdio::null()).output() {
        Ok(output) => {
            ensure!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(true)
        }
        Err(error) => {
            println!("not tested: there is no {what} here ({}: {error})", compiler.get_program().display());
            Ok(false)
        }
    }
}

/// Where its touches come from, the most frequent first; they must be most of those that it made.
fn places_of(program: &Path) -> Result<Vec<Value>> {
    let mut workload = Workload::start_command(Command::new(program))?;
    let tid = workload.tid("toucher")?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    let done = workload.run()?;
    // Symbols are looked up while it lives.
    let report = tracer.stop()?;
    workload.finish()?;
    let truth = done.facts["touches"].as_u64().context("no touches")?;
    let thread = report.thread(tid)?;
    let ours = thread.touches("first_touch")?.unwrap_or_default();
    ensure!(ours.local + ours.remote >= truth, "{ours:?} of {truth} touches");
    let places = thread.0["where"].as_array().with_context(|| format!("no places: {}", report.reasons()))?;
    let sum: u64 = places.iter().map(count).sum();
    ensure!(sum * 10 >= truth * 9 && sum * 10 <= truth * 12, "places have {sum} of {truth} touches: {places:?}");
    Ok(places.clone())
}

/// Touches at a place.
fn count(place: &Value) -> u64 {
    ["local", "remote"].iter().filter_map(|part| place[*part].as_u64()).sum()
}

fn function() -> Result<()> {
    let scratch = Scratch::new("where")?;
    let Some(program) = compiled(&scratch.0, &[])? else { return Ok(()) };
    is_most_of(&program, FUNCTION)
}

fn function_of_go() -> Result<()> {
    let scratch = Scratch::new("where-go")?;
    let Some(program) = compiled_go(&scratch.0, "")? else { return Ok(()) };
    is_most_of(&program, FUNCTION_OF_GO)
}

fn function_of_stripped_go() -> Result<()> {
    let scratch = Scratch::new("where-go-stripped")?;
    let Some(program) = compiled_go(&scratch.0, "-s -w")? else { return Ok(()) };
    is_most_of(&program, FUNCTION_OF_GO)
}

/// The top place is that function, in memory without a name.
fn is_most_of(program: &Path, function: &str) -> Result<()> {
    let places = places_of(program)?;
    let first = places.iter().max_by_key(|place| count(place)).context("no place at all")?;
    let symbol = first["symbol"].as_str().unwrap_or_default();
    ensure!(symbol.contains(function), "most touches are at {first}, not in {function}");
    ensure!(first["mapping"].as_str().is_some_and(|mapping| mapping.contains("anon")), "the mapping is {first}");
    Ok(())
}

fn stripped() -> Result<()> {
    let scratch = Scratch::new("where-stripped")?;
    let Some(program) = compiled(&scratch.0, &["-s"])? else { return Ok(()) };
    let places = places_of(&program)?;
    let first = places.iter().max_by_key(|place| count(place)).context("no place at all")?;
    let symbol = first["symbol"].as_str().unwrap_or_default();
    ensure!(symbol.contains("touches-of-c") && symbol.contains("0x"), "no file and offset: {first}");
    ensure!(symbol.ends_with(')'), "it is not said why there is no name: {first}");
    Ok(())
}
