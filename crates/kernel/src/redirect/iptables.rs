//! The redirect by the programs of iptables, for kernels without nftables: chains of our own in the
//! nat tables of both families, and a jump to each that stands before everybody else's rules.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Output, Stdio};

use super::{Error, Rule};

/// Seconds to wait for another program that holds the iptables lock.
const LOCK_SECONDS: &str = "5";

/// The built-in chains of the nat table that new connections enter by.
const ENTRANCES: [&str; 2] = ["PREROUTING", "OUTPUT"];

/// The programs of each family: the one the administrator chose, then the one that needs no
/// nftables in the kernel.
const IPV4_PROGRAMS: [&str; 2] = ["iptables", "iptables-legacy"];
const IPV6_PROGRAMS: [&str; 2] = ["ip6tables", "ip6tables-legacy"];

/// Chains whose names begin with `prefix`.
#[derive(Debug)]
pub(super) struct Iptables {
    prefix: String,
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
        let this = Self { prefix: table.to_uppercase() };
        this.replace(rules)?;
        Ok(this)
    }

    /// Goes on with the rules of another process.
    pub(super) fn inherit(table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let this = Self { prefix: table.to_uppercase() };
        if !this.intact(rules)? {
            this.replace(rules)?;
        }
        Ok(this)
    }

    /// Sets the rules of both families, whatever is there of ours; on an error none stay.
    pub(super) fn replace(&self, rules: &[Rule]) -> Result<(), Error> {
        for (programs, rules) in by_family(rules) {
            let outcome = match self.replace_by(programs[0], &rules) {
                // The one that needs nftables lists an empty table where there are none.
                Err(error) => self.replace_by(programs[1], &rules).map_err(|_| error),
                outcome => outcome,
            };
            if let Err(error) = outcome {
                self.remove().ok();
                return Err(error);
            }
        }
        Ok(())
    }

    fn replace_by(&self, program: &'static str, rules: &[Rule]) -> Result<(), Error> {
        match Nat::read_by(program) {
            Ok(nat) => nat.restore(&install_script(&self.prefix, rules, &nat.listing)),
            // Nothing to install there, and nothing can be left there.
            Err(_) if rules.is_empty() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn intact(&self, rules: &[Rule]) -> Result<bool, Error> {
        for (programs, rules) in by_family(rules) {
            let is_installed = |nat: &Nat| is_installed(&self.prefix, &rules, &nat.listing);
            if !rules.is_empty()
                && !is_installed(&Nat::read(programs)?)
                && !Nat::read_by(programs[1]).is_ok_and(|nat| is_installed(&nat))
            {
                return Ok(false);
            }
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
    for program in [IPV4_PROGRAMS, IPV6_PROGRAMS].concat() {
        // A table that a program cannot read, it has not written to.
        let Ok(nat) = Nat::read_by(program) else { continue };
        if nat.has_any_of(prefix) {
            nat.restore(&removal_script(prefix, &nat.listing))?;
            removed = true;
        }
    }
    Ok(removed)
}

fn by_family(rules: &[Rule]) -> [([&'static str; 2], Vec<Rule>); 2] {
    let (ipv4, ipv6) = rules.iter().partition(|rule| rule.vip.is_ipv4());
    [(IPV4_PROGRAMS, ipv4), (IPV6_PROGRAMS, ipv6)]
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
    /// Reads the table by the first program that can; the error is the last one's.
    fn read(programs: [&'static str; 2]) -> Result<Self, Error> {
        Self::read_by(programs[0]).or_else(|_| Self::read_by(programs[1]))
    }

    fn read_by(program: &'static str) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.args(["-w", LOCK_SECONDS, "-t", "nat", "-S"]).stdin(Stdio::null());
        let output = run(&mut command, "")?;
        let listing = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        Ok(Self { program, listing })
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
