//! Man pages and completion scripts, rendered from the command tree.

use std::path::Path;

use clap::Command;

use super::args::{self, Generated, Shell};
use crate::store::{StoreError, disk};

/// The completion script of `shell`.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    use clap_complete::Shell as Known;
    let mut tree = args::documented();
    let mut script = Vec::new();
    let mut known = |shell: Known| {
        clap_complete::generate(shell, &mut tree, "certmint", &mut script);
    };
    match shell {
        Shell::Bash => known(Known::Bash),
        Shell::Zsh => known(Known::Zsh),
        Shell::Fish => known(Known::Fish),
        Shell::Pwsh => known(Known::PowerShell),
        Shell::Elvish => known(Known::Elvish),
        Shell::Nushell => clap_complete::generate(
            clap_complete_nushell::Nushell,
            &mut tree,
            "certmint",
            &mut script,
        ),
    }
    script
}

/// Each shell's script under the name that the shell looks for.
const SCRIPTS: [(Shell, &str); 6] = [
    (Shell::Bash, "certmint.bash"),
    (Shell::Zsh, "_certmint"),
    (Shell::Fish, "certmint.fish"),
    (Shell::Pwsh, "_certmint.ps1"),
    (Shell::Elvish, "certmint.elv"),
    (Shell::Nushell, "certmint.nu"),
];

/// Renders what is asked for into `dir`.
pub(super) fn generate(what: Generated, dir: &Path) -> Result<(), StoreError> {
    const READABLE: u32 = 0o644;
    let files = match what {
        Generated::Completions => SCRIPTS
            .iter()
            .map(|(shell, name)| ((*name).to_owned(), completions(*shell)))
            .collect(),
        Generated::Man => man_pages(),
    };
    disk::create_dir(dir)?;
    for (name, contents) in files {
        disk::replace(&dir.join(name), &contents, READABLE)?;
    }
    Ok(())
}

fn man_pages() -> Vec<(String, Vec<u8>)> {
    let mut tree = args::documented();
    tree.build();
    let mut pages = Vec::new();
    collect_pages(&tree, "certmint", &mut pages);
    pages
}

fn collect_pages(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    let renamed = command
        .clone()
        .name(name.to_owned())
        .disable_version_flag(true);
    clap_mangen::Man::new(renamed)
        // The page must not differ from day to day.
        .date("")
        .manual("certmint manual")
        .render(&mut page)
        .expect("writing into a Vec cannot fail");
    pages.push((format!("{name}.1"), page));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect_pages(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}
