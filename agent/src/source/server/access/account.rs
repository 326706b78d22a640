//! System accounts that may log in: those of some groups, as /etc/passwd and /etc/group tell. Groups of a directory service
//! are not seen.

use holdfast_core::config::access::Pam as Rule;

use crate::os::pam::Pam;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The system accounts of a server.
pub struct Accounts {
    rule: Rule,
    pam: Pam,
}

impl Accounts {
    /// Loads libpam. The error says why it cannot be used.
    pub fn new(rule: &Rule) -> Result<Accounts, String> {
        let pam = Pam::load()?;
        if rule.confdir.is_some() && !pam.knows_confdir() {
            return Err("pam.confdir needs Linux-PAM 1.4 or later".to_owned());
        }
        Ok(Accounts { rule: rule.clone(), pam })
    }

    /// Whether an account of this name is in one of the groups and this is its password. It blocks. The error says why that
    /// cannot be told.
    pub fn is_right(&self, name: &str, password: &str) -> Result<bool, String> {
        let read = |file: &str| {
            let text = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            Ok::<_, String>(String::from_utf8_lossy(&text).into_owned())
        };
        // An account in none of the groups is none of PAM's business, which may count failures and lock accounts.
        if !is_member(&read(PASSWD)?, &read(GROUP)?, name, &self.rule.groups) {
            return Ok(false);
        }
        self.pam.is_right(&self.rule.service, self.rule.confdir.as_deref(), name, password)
    }
}

/// passwd(5) and group(5): by its own group, or as a member of another.
fn is_member(passwd: &str, group: &str, name: &str, groups: &[String]) -> bool {
    let own = entries(passwd).find(|(account, ..)| *account == name).map(|(.., group)| group);
    let Some(own) = own else { return false };
    let mut listed = entries(group).filter(|(group, ..)| groups.iter().any(|known| known == group));
    listed.any(|(_, id, members)| id == own || members.split(',').any(|member| member == name))
}

/// First, third and fourth field of each line.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?, fields.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_in_its_own_group_and_in_those_that_name_it() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npump:x:1001:1001::/:/bin/false\nfan:x:1002:100:,,,:/:\nbroken\n";
        let group = "root:x:0:\nsensors:x:900:pump,other\nusers:x:100:\nbroken\n";
        let is = |name: &str, groups: &[&str]| {
            is_member(
                passwd,
                group,
                name,
                &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>(),
            )
        };
        assert!(is("pump", &["sensors"]) && is("fan", &["sensors", "users"]) && is("root", &["root"]));
        assert!(!is("pump", &["users"]) && !is("pum", &["sensors"]) && !is("other", &["sensors"]));
        assert!(!is("broken", &["broken"]) && !is("", &["sensors"]));
    }
}
