//! `holdfast buffer verify`: whether everything can be read as it was written.

use std::process::ExitCode;

use holdfast_core::outlet::inspect::{Checked, StoreQuery, Survey};
use serde_json::json;

use super::place::{StoreAccess, StorePath};
use super::progress::Progress;
use super::record::many;
use crate::cli::{clean, print};

/// Reads and checks every group and every file of the store, and says what is damaged
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Each group is read, its checksum compared, unpacked, and its numbers compared with the index. Nothing is \
    repaired: the agent does that when it starts or comes to a damaged group, and `holdfast buffer repair` \
    does it now.\n\n\
    Exit code: 0 when all is sound, 1 when something is damaged or cannot be read.\n\n\
    Examples:\n  holdfast buffer verify\n  holdfast buffer verify --data-dir ./data --json | jq .damage"
)]
pub struct Args {
    /// Print the result in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Checks and prints what was found. The error says why nothing can be checked.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut place = args.whereabouts.read()?;
    let survey = place.survey()?;
    let mut groups = Checked { damage: place.damage().to_vec(), ..Checked::default() };
    if place.is_readable() {
        check_groups(&mut place, &survey, &mut groups)?;
    }
    let files = place.check(&StoreQuery::Files)?;
    groups.damage.extend(files.damage.iter().cloned());
    let text = match args.json {
        true => format!("{:#}\n", document(&groups, files.count)),
        false => page(&groups, files.count),
    };
    // Whoever closes the pipe early sees the exit code.
    let _ = print(&text);
    Ok(if groups.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_groups(place: &mut StoreAccess, survey: &Survey, sum: &mut Checked) -> anyhow::Result<()> {
    let total = survey.facts.held.iter().map(|held| held.messages).sum();
    let mut progress = Progress::new("verifying", total, "messages");
    for outlet in &survey.outlets {
        let mut next = Some(0);
        while let Some(from) = next {
            let page = place.check(&StoreQuery::Groups { outlet: outlet.name.clone(), from })?;
            sum.count += page.count;
            sum.messages += page.messages;
            sum.damage.extend(page.damage);
            next = page.next;
            progress.at(sum.messages);
        }
    }
    Ok(())
}

fn document(groups: &Checked, files: u64) -> serde_json::Value {
    let sound = groups.damage.is_empty();
    json!({ "ok": sound, "groups": groups.count, "messages": groups.messages, "files": files, "damage": groups.damage })
}

fn page(groups: &Checked, files: u64) -> String {
    let lines = groups
        .damage
        .iter()
        .map(|damage| format!("damaged: {}: {}\n", clean(&damage.place), clean(&damage.cause)));
    let verdict = match groups.damage.len() {
        0 => "all sound".to_owned(),
        1 => "1 place is damaged".to_owned(),
        places => format!("{places} places are damaged"),
    };
    let (count, messages) = (many(groups.count, "group"), many(groups.messages, "message"));
    let files = many(files, "file");
    lines.collect::<String>() + &format!("{verdict}: {count} with {messages}, {files}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::inspect::Damage;

    #[test]
    fn each_damaged_place_is_a_line_before_the_verdict() {
        let damage =
            |place: &str| Damage { place: place.to_owned(), cause: "its checksum is wrong".to_owned() };
        let damage = vec![damage("client:cloud, numbers 1 to 9"), damage("dead letter 4")];
        let groups = Checked { count: 3, messages: 20, damage, next: None };
        let expected = "\
damaged: client:cloud, numbers 1 to 9: its checksum is wrong
damaged: dead letter 4: its checksum is wrong
2 places are damaged: 3 groups with 20 messages, 5 files
";
        assert_eq!(page(&groups, 5), expected);
        assert_eq!(document(&groups, 5)["ok"], false);
        assert_eq!(page(&Checked::default(), 2), "all sound: 0 groups with 0 messages, 2 files\n");
    }
}
