//! The address of a database, taken apart so that its password never reaches a message or a process list.

use std::fmt;

use anyhow::{Context, Result, bail};

/// `postgres://user:password@host:port/name?options`. Displayed without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    user: String,
    password: Option<String>,
    host_port: String,
    name: String,
    options: Option<String>,
}

impl DatabaseAddress {
    /// Errors never contain the address: it holds a password.
    pub fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) else {
            bail!(
                "a database address starts with postgres:// and reads postgres://user:password@host:5432/name"
            );
        };
        let (rest, options) = split_optional(rest, '?');
        let (server, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host_port) = server.rsplit_once('@').unwrap_or(("", server));
        let (user, password) = split_optional(login, ':');
        if host_port.is_empty() {
            bail!("the database address names no host");
        }
        let has_port = host_port.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host_port = if has_port { host_port.to_owned() } else { format!("{host_port}:5432") };
        Ok(Self {
            user: user.to_owned(),
            password: password.map(percent_decode).transpose()?,
            host_port,
            name: name.to_owned(),
            options: options.map(str::to_owned),
        })
    }

    /// `host:port`, with the port also where the address leaves it out.
    pub fn host_port(&self) -> &str {
        &self.host_port
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The database's name; empty when the address leaves it out.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.user.is_empty() { "" } else { "@" };
        write!(formatter, "postgres://{}{at}{}/{}", self.user, self.host_port, self.name)?;
        self.options.iter().try_for_each(|options| write!(formatter, "?{options}"))
    }
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn percent_decode(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: Vec<u8> = rest.by_ref().take(2).collect();
        let code = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(
            code.context(
                "the password in the database address has a % that starts no code: write it as %25",
            )?,
        );
    }
    String::from_utf8(bytes).context("the password in the database address is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_decoded_and_never_displayed() {
        let address = DatabaseAddress::parse("postgresql://me:p%40ss@db:6000/tasks?sslmode=disable").unwrap();
        assert_eq!(address.password(), Some("p@ss"));
        assert_eq!(address.to_string(), "postgres://me@db:6000/tasks?sslmode=disable");
    }

    #[test]
    fn the_port_is_the_usual_one_when_it_is_left_out() {
        assert_eq!(DatabaseAddress::parse("postgres://db/tasks").unwrap().host_port(), "db:5432");
    }

    #[test]
    fn another_scheme_is_refused_without_repeating_the_address() {
        let error = DatabaseAddress::parse("mysql://me:secret@db/tasks").err().unwrap().to_string();
        assert!(error.contains("postgres://") && !error.contains("secret"));
    }
}
