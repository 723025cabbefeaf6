//! What `up` prints once everything runs: where it is, a token and three lines to paste.

use std::time::Duration;

use crate::token::DEMO_USER;

const VALID_FOR: Duration = Duration::from_secs(24 * 3_600);

/// Prints the URL, a demo user's token and the curl lines.
pub(crate) fn print(url: &str, jwt_secret: &str) {
    let token = stack::token::mint(jwt_secret, DEMO_USER, VALID_FOR);
    println!(
        "\n{url}/api/v1/tasks\n{url}/api/docs to try it in a browser\n\nA token for the demo user, valid for a day:\n{token}\n\nPaste these into another terminal:\n"
    );
    for line in curl_lines(url, &token) {
        println!("{line}\n");
    }
}

fn curl_lines(url: &str, token: &str) -> [String; 3] {
    let authorization = format!("-H 'Authorization: Bearer {token}'");
    let create = |body: &str| {
        format!(
            "curl -i -w '\\n' {url}/api/v1/tasks {authorization} -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    [
        create(r#"{"title": "Water the plants"}"#),
        create(r#"{"title": "Renew the passport", "due_date": "2030-01-01T09:00:00Z"}"#),
        format!("curl -i -w '\\n' {url}/api/v1/tasks {authorization}"),
    ]
}
