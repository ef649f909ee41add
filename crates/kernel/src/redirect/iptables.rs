//! The redirect by the programs of iptables, for kernels without nftables: chains of our own in the
//! nat tables of both families, and a jump to each that stands before everybody else's rules.

mod changes;
mod family;

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use self::changes::Changes;
use self::family::{FAMILIES, Family};
use super::{Error, Rule};

/// Seconds to wait for another program that holds the iptables lock.
const LOCK_SECONDS: &str = "5";

/// The built-in chains of the nat table that new connections enter by.
const ENTRANCES: [&str; 2] = ["PREROUTING", "OUTPUT"];

/// Chains whose names begin with `prefix`.
#[derive(Debug)]
pub(super) struct Iptables {
    prefix: String,
    /// The program of each family that has installed its rules.
    programs: [Option<&'static str>; 2],
    changes: Changes,
}

/// The nat table of one family, as one program shows it.
#[derive(Debug)]
struct Nat {
    program: &'static str,
    /// What `-S` prints: a line for each chain and each rule, in the form of a command.
    listing: Vec<String>,
}

impl Iptables {
    pub(super) fn install(table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let mut this = Self::new(table);
        this.replace(rules)?;
        Ok(this)
    }

    /// Goes on with the rules of another process.
    pub(super) fn inherit(table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let mut this = Self::new(table);
        if !this.intact(rules)? {
            this.replace(rules)?;
        }
        Ok(this)
    }

    fn new(table: &str) -> Self {
        let prefix = table.to_uppercase();
        let changes = Changes::open(&prefix);
        Self { prefix, programs: [None; 2], changes }
    }

    /// Whether to ask [`Iptables::intact`], which starts a program for each family.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.changes.is_due(now)
    }

    /// Sets the rules of both families, whatever is there of ours; on an error none stay.
    pub(super) fn replace(&mut self, rules: &[Rule]) -> Result<(), Error> {
        for (index, family) in FAMILIES.iter().enumerate() {
            let rules = of_family(family, rules);
            let outcome = if rules.is_empty() {
                remove_of(family, &self.prefix).map(|_| None)
            } else {
                self.replace_of(family, &rules).map(Some)
            };
            match outcome {
                Ok(program) => self.programs[index] = program,
                Err(error) => {
                    self.remove().ok();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns the program that did it. The one that needs nftables may list an empty table where the
    /// kernel has none, and then fails.
    fn replace_of(&self, family: &Family, rules: &[Rule]) -> Result<&'static str, Error> {
        let tables = family.tables();
        let replace = |program, is_there: bool| {
            let nat = if is_there { Nat::read(program)? } else { Nat::empty(program) };
            nat.restore(&install_script(&self.prefix, rules, &nat.listing)).map(|()| program)
        };
        let [chosen, legacy] = family.programs;
        replace(chosen, tables.nftables || tables.legacy)
            .or_else(|error| replace(legacy, tables.legacy).map_err(|_| error))
    }

    pub(super) fn intact(&mut self, rules: &[Rule]) -> Result<bool, Error> {
        for (index, family) in FAMILIES.iter().enumerate() {
            let rules = of_family(family, rules);
            if rules.is_empty() {
                continue;
            }
            let is_installed = |nat: &Nat| is_installed(&self.prefix, &rules, &nat.listing);
            let installed_by = match self.programs[index] {
                Some(program) => Some(Nat::read(program)?).filter(is_installed),
                None => read_all(family).find(is_installed),
            };
            let Some(nat) = installed_by else { return Ok(false) };
            self.programs[index] = Some(nat.program);
        }
        Ok(true)
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        remove(&self.prefix).map(drop)
    }
}

/// Says whether there was anything to remove.
pub(super) fn remove_leftovers(table: &str) -> Result<bool, Error> {
    remove(&table.to_uppercase())
}

fn remove(prefix: &str) -> Result<bool, Error> {
    let mut removed = false;
    for family in &FAMILIES {
        removed |= remove_of(family, prefix)?;
    }
    Ok(removed)
}

fn remove_of(family: &Family, prefix: &str) -> Result<bool, Error> {
    let mut removed = false;
    for nat in read_all(family).filter(|nat| nat.has_any_of(prefix)) {
        nat.restore(&removal_script(prefix, &nat.listing))?;
        removed = true;
    }
    Ok(removed)
}

/// The tables of a family by each program that can read any, one after the other as they are asked
/// for. A table that a program cannot read, it has not written to.
fn read_all(family: &Family) -> impl Iterator<Item = Nat> + use<> {
    let [chosen, legacy] = family.programs;
    let tables = family.tables();
    let by_nftables = tables.nftables.then_some([chosen, chosen]);
    // On some systems the one that was chosen is the only one there is.
    let by_legacy = tables.legacy.then_some([legacy, chosen]);
    [by_nftables, by_legacy]
        .into_iter()
        .flatten()
        .filter_map(|[first, second]| Nat::read(first).or_else(|_| Nat::read(second)).ok())
}

fn of_family(family: &Family, rules: &[Rule]) -> Vec<Rule> {
    rules.iter().filter(|rule| family.has(rule.vip)).copied().collect()
}
/// Input for `iptables-restore --noflush`, which applies it at once or not at all. Naming a chain
/// creates or empties it.
fn install_script(prefix: &str, rules: &[Rule], listing: &[String]) -> String {
    let mut script = String::from("*nat\n");
    for entrance in ENTRANCES {
        script += &format!(":{prefix}-{entrance} - [0:0]\n");
    }
    for entrance in ENTRANCES {
        script += &delete_jumps(prefix, entrance, listing);
        script += &format!("-I {entrance} 1 -m comment --comment cplb -j {prefix}-{entrance}\n");
        for rule in rules_of(entrance, rules) {
            script += &format!("-A {prefix}-{entrance} {}\n", rule_arguments(rule));
        }
    }
    script + "COMMIT\n"
}

fn removal_script(prefix: &str, listing: &[String]) -> String {
    let mut script = String::from("*nat\n");
    for entrance in ENTRANCES {
        script += &format!(":{prefix}-{entrance} - [0:0]\n");
        script += &delete_jumps(prefix, entrance, listing);
        script += &format!("-X {prefix}-{entrance}\n");
    }
    script + "COMMIT\n"
}

/// Deletes each jump in the words in which it is listed.
fn delete_jumps(prefix: &str, entrance: &str, listing: &[String]) -> String {
    listing
        .iter()
        .filter_map(|line| line.strip_prefix(&format!("-A {entrance} ")))
        .filter(|arguments| is_jump(arguments, prefix, entrance))
        .map(|arguments| format!("-D {entrance} {arguments}\n"))
        .collect()
}

fn is_jump(arguments: &str, prefix: &str, entrance: &str) -> bool {
    arguments.ends_with(&format!("-j {prefix}-{entrance}"))
}

/// Those of the rules that belong there.
fn rules_of<'a>(entrance: &str, rules: &'a [Rule]) -> impl Iterator<Item = &'a Rule> {
    let arriving = entrance == "PREROUTING";
    rules.iter().filter(move |rule| !arriving || rule.is_for_arriving())
}

fn rule_arguments(rule: &Rule) -> String {
    let Rule { vip, port, to, of: _ } = rule;
    let length = match vip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let comment = rule.comment();
    // In the order and the spelling in which `-S` lists it.
    format!(
        "-d {vip}/{length} -p tcp -m tcp --dport {port} -m comment --comment \"{comment}\" -j REDIRECT --to-ports {to}"
    )
}

/// Whether our jump stands first in each built-in chain, and our chains hold just these rules.
fn is_installed(prefix: &str, rules: &[Rule], listing: &[String]) -> bool {
    let in_chain = |chain: String| {
        let start = format!("-A {chain} ");
        listing.iter().filter_map(move |line| line.strip_prefix(&start).map(str::to_owned))
    };
    ENTRANCES.iter().all(|entrance| {
        let first = in_chain((*entrance).to_owned()).next();
        first.is_some_and(|arguments| is_jump(&arguments, prefix, entrance))
            && in_chain(format!("{prefix}-{entrance}"))
                .eq(rules_of(entrance, rules).map(rule_arguments))
    })
}

impl Nat {
    fn read(program: &'static str) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.args(["-w", LOCK_SECONDS, "-t", "nat", "-S"]).stdin(Stdio::null());
        let output = run(&mut command, "")?;
        let listing = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        Ok(Self { program, listing })
    }

    /// A table that is not there yet.
    fn empty(program: &'static str) -> Self {
        Self { program, listing: Vec::new() }
    }

    /// Whether chains of ours are there.
    fn has_any_of(&self, prefix: &str) -> bool {
        self.listing.iter().any(|line| line.contains(&format!("{prefix}-")))
    }

    fn restore(&self, script: &str) -> Result<(), Error> {
        let mut command = Command::new(format!("{}-restore", self.program));
        command.args(["-w", LOCK_SECONDS, "--noflush"]).stdin(Stdio::piped());
        run(&mut command, script)?;
        Ok(())
    }
}

fn run(command: &mut Command, input: &str) -> Result<Output, Error> {
    let output = output_of(command, input).map_err(|source| Error::IptablesMissing {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let words = std::iter::once(command.get_program().to_string_lossy()).chain(arguments);
    Err(Error::IptablesRefused {
        command: words.collect::<Vec<_>>().join(" "),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn output_of(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A program that ends without reading says why by itself, in its status.
    child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    child.wait_with_output()
}

#[cfg(test)]
mod tests;
