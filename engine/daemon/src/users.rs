//! Users by name or number, from `/etc/passwd` alone: a daemon's users are local ones.

/// The number of a user.
///
/// # Errors
/// Nobody has that name.
pub fn uid_of(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    find(&passwd, user).ok_or_else(|| format!("expected a user of /etc/passwd or a number, found {user:?}"))
}

fn find(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbacula:x:103:104::/:/bin/false\n";
        assert_eq!((find(passwd, "bacula"), find(passwd, "bac")), (Some(103), None));
        assert_eq!(uid_of("42"), Ok(42));
    }
}
