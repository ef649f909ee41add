use std::time::{Duration, Instant};

use super::*;

const A: &str = "10.0.0.1:6443";
const B: &str = "10.0.0.2:6443";
const C: &str = "10.0.0.3:6443";

/// One that was healthy, and turned so many seconds after `begin`.
fn turned(begin: Instant, address: &str, seconds: u64, health: Health) -> Candidate {
    let since = begin + Duration::from_secs(seconds);
    Candidate { address: address.parse().unwrap(), health, absent: false, proven: true, since }
}

fn healthy(begin: Instant, address: &str) -> Candidate {
    turned(begin, address, 0, Health::Healthy)
}

fn unwell(begin: Instant, address: &str, seconds: u64) -> Candidate {
    turned(begin, address, seconds, Health::Unhealthy)
}

fn absent(begin: Instant, address: &str, seconds: u64) -> Candidate {
    Candidate { absent: true, ..turned(begin, address, seconds, Health::Unhealthy) }
}

fn unproven(candidate: Candidate) -> Candidate {
    Candidate { proven: false, ..candidate }
}

fn usable(selection: &Selection) -> Vec<String> {
    selection.usable().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_unhealthy_is_usable() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    let unknown = unproven(turned(begin, C, 0, Health::Unknown));
    selection.update(&[healthy(begin, A), absent(begin, B, 1), unknown]);
    assert_eq!(usable(&selection), [A, C]);
    assert!(!selection.fail_open());
}

#[test]
fn failures_shortly_after_one_another_keep_all_usable() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[healthy(begin, A), healthy(begin, B), healthy(begin, C)]);
    selection.update(&[unwell(begin, A, 20), healthy(begin, B), healthy(begin, C)]);
    assert_eq!(usable(&selection), [B, C]);
    selection.update(&[unwell(begin, A, 20), unwell(begin, B, 22), healthy(begin, C)]);
    assert_eq!(usable(&selection), [C]);
    selection.update(&[unwell(begin, A, 20), unwell(begin, B, 22), unwell(begin, C, 25)]);
    assert_eq!(usable(&selection), [A, B, C]);
    assert!(selection.fail_open());
}

#[test]
fn earlier_failures_and_absent_ones_have_another_cause() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[absent(begin, A, 59), unwell(begin, B, 10), healthy(begin, C)]);
    assert_eq!(usable(&selection), [C]);
    selection.update(&[absent(begin, A, 59), unwell(begin, B, 10), unwell(begin, C, 60)]);
    assert_eq!(usable(&selection), [C]);
    assert!(selection.fail_open());
}

#[test]
fn last_one_stays_even_if_it_is_absent() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[absent(begin, A, 50), healthy(begin, B)]);
    selection.update(&[absent(begin, A, 50), absent(begin, B, 60)]);
    assert_eq!(usable(&selection), [B]);
    assert!(selection.fail_open());
}

#[test]
fn what_is_kept_does_not_change_while_nothing_is_healthy() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[unwell(begin, A, 50), healthy(begin, B)]);
    selection.update(&[unwell(begin, A, 50), unwell(begin, B, 99)]);
    assert_eq!(usable(&selection), [B]);
    selection.update(&[unwell(begin, A, 100), unwell(begin, B, 99)]);
    assert_eq!(usable(&selection), [B]);
}

#[test]
fn first_healthy_one_ends_it() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[unwell(begin, A, 5), unwell(begin, B, 5)]);
    assert!(selection.fail_open());
    selection.update(&[unwell(begin, A, 5), turned(begin, B, 9, Health::Healthy)]);
    assert_eq!(usable(&selection), [B]);
    assert!(!selection.fail_open());
}

#[test]
fn all_are_usable_if_none_ever_was_healthy() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    let unknown = |address| unproven(turned(begin, address, 0, Health::Unknown));
    let gone = |address| unproven(absent(begin, address, 1));
    selection.update(&[unknown(A), unknown(B)]);
    selection.update(&[gone(A), unknown(B)]);
    assert_eq!(usable(&selection), [B]);
    selection.update(&[gone(A), gone(B)]);
    assert_eq!(usable(&selection), [A, B]);
}

#[test]
fn all_are_usable_if_those_kept_have_left_the_list() {
    let begin = Instant::now();
    let mut selection = Selection::default();
    selection.update(&[healthy(begin, A), absent(begin, B, 50), absent(begin, C, 50)]);
    selection.update(&[absent(begin, A, 99), absent(begin, B, 50), absent(begin, C, 50)]);
    assert_eq!(usable(&selection), [A]);
    selection.update(&[absent(begin, B, 50), absent(begin, C, 50)]);
    assert_eq!(usable(&selection), [B, C]);
}

#[test]
fn nothing_known_is_nothing_usable() {
    let mut selection = Selection::default();
    selection.update(&[]);
    assert!(selection.usable().is_empty());
    assert!(!selection.fail_open());
}
