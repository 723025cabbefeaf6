//! `/api/v1/tasks`: creating and listing.

use proptest::prelude::{Strategy, any, prop};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::{Answer, id, instant, keys};
use crate::harness::{Route, Setup, shared};

const TASKS: &str = "/api/v1/tasks";

#[tokio::test]
async fn a_new_task_is_returned_with_exactly_its_fields() {
    let task = shared().user().create("Buy milk").await;
    assert_eq!(keys(&task), ["completed", "created_at", "id", "title", "updated_at"]);
    assert_eq!((&task["title"], &task["completed"]), (&json!("Buy milk"), &json!(false)));
    assert_eq!(task["created_at"], task["updated_at"]);
}

#[tokio::test]
async fn the_answer_says_where_the_new_task_is() {
    let app = shared();
    let user = app.user();
    for path in [TASKS, "/api/v1/tasks/"] {
        let answer = Answer::to(user.request(Method::POST, path).json(&json!({"title": "A"}))).await;
        let task = answer.task(201);
        let location = answer.header("location").expect("a location");
        assert_eq!(location, format!("{TASKS}/{}", id(&task)));
        assert_eq!(user.get(location).await.task(200), task);
    }
}

#[tokio::test]
async fn a_title_is_trimmed() {
    let task = shared().user().create(" \t Buy milk\n").await;
    assert_eq!(task["title"], "Buy milk");
}

#[tokio::test]
async fn a_title_that_is_missing_or_no_string_is_refused() {
    let app = shared();
    let user = app.user();
    for body in [json!({}), json!({"title": null}), json!({"title": 7}), json!({"title": ["a"]})] {
        user.post_task(&body).await.invalid("title");
    }
}

#[tokio::test]
async fn a_title_that_is_empty_after_trimming_is_refused() {
    let app = shared();
    let user = app.user();
    for title in ["", " ", "\t\n  "] {
        let message = user.post_task(&json!({"title": title})).await.invalid("title");
        assert_eq!(message, "Title cannot be empty");
    }
}

#[tokio::test]
async fn a_title_of_which_nothing_can_be_seen_is_empty() {
    let app = shared();
    let user = app.user();
    let id = user.new_task_id().await;
    for title in [
        "\u{200b}",
        "\u{feff}",
        "\u{2060}",
        "\u{ad}",
        "\u{3164}",
        "\u{2800}",
        "\u{115f}",
        "\u{e0020}",
        "\u{7}",
        "\u{200b} \u{2800}\n\u{feff}",
    ] {
        for answer in
            [user.post_task(&json!({"title": title})).await, user.patch(&id, &json!({"title": title})).await]
        {
            assert_eq!(answer.invalid("title"), "Title cannot be empty", "{title:?}");
        }
    }
    assert_eq!(user.list().await.len(), 1);
}

#[tokio::test]
async fn a_title_keeps_what_can_not_be_seen_beside_what_can() {
    let app = shared();
    let user = app.user();
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    for title in
        [family, "\u{2764}\u{fe0f}", "\u{200b}Milk\u{200b}", "می\u{200c}خواهم", "\u{2801}", "\u{301}"]
    {
        assert_eq!(user.create(title).await["title"], title);
    }
}

#[tokio::test]
async fn a_title_of_500_characters_is_accepted() {
    let title = "x".repeat(500);
    assert_eq!(shared().user().create(&title).await["title"], title);
}

#[tokio::test]
async fn a_title_of_501_characters_is_refused() {
    let message = shared().user().post_task(&json!({"title": "x".repeat(501)})).await.invalid("title");
    assert_eq!(message, "Title must be at most 500 characters");
}

#[tokio::test]
async fn the_length_of_a_title_counts_characters_not_bytes() {
    let app = shared();
    let user = app.user();
    let title = "🦀".repeat(500);
    assert_eq!(user.create(&title).await["title"], title);
    user.post_task(&json!({"title": "é".repeat(501)})).await.invalid("title");
}

#[tokio::test]
async fn a_title_with_a_nul_character_is_refused() {
    shared().user().post_task(&json!({"title": "a\u{0}b"})).await.invalid("title");
}

#[tokio::test]
async fn any_other_title_comes_back_as_it_was_sent() {
    let app = shared();
    let user = app.user();
    let mut runner = TestRunner::deterministic();
    let titles = prop::collection::vec(any::<char>(), 1..=500)
        .prop_map(|characters| characters.into_iter().collect::<String>())
        .prop_filter("a valid title", |title| title.contains(char::is_alphanumeric) && !title.contains('\0'));
    for _ in 0..40 {
        let title = titles.new_tree(&mut runner).unwrap().current();
        let task = user.create(&title).await;
        assert_eq!(task["title"], title.trim());
        assert_eq!(user.read(&id(&task)).await, task);
    }
}

#[tokio::test]
async fn a_user_can_have_as_many_tasks_as_the_installation_allows() {
    let app = Setup::new().variable("max_tasks_per_user", "3").with_dapr().start();
    let user = app.user();
    let tasks = [user.create("One").await, user.create("Two").await, user.create("Three").await];
    for _ in 0..2 {
        user.post_task(&json!({"title": "Four"})).await.plain_error(
            409,
            "TASK_LIMIT_REACHED",
            "There are too many tasks. Delete some first.",
        );
    }
    app.user().create("Of somebody else").await;
    user.call(Route::Delete, &id(&tasks[0])).await.ok(200);
    user.create("Four").await;
    assert_eq!(user.list().await.len(), 3);
    user.call(Route::Delete, &id(&tasks[1])).await.ok(200);
    assert_eq!(app.heard(&user).await.sentinel, 7, "what was refused took no number");
}

#[tokio::test]
async fn a_limit_that_is_none_is_named_in_the_log() {
    let app = Setup::new().variable("max_tasks_per_user", "many").start();
    let answer = app.user().post_task(&json!({"title": "Nobody knows whether it fits"})).await;
    answer.plain_error(500, "INTERNAL_ERROR", "An unexpected error occurred.");
    assert!(app.log().text().contains("variable max_tasks_per_user is"), "{}", app.log().text());
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let body = json!({"title": "A", "id": "mine", "completed": true, "owner": {"name": "x"}});
    let task = shared().user().post_task(&body).await.task(201);
    assert_eq!(task["completed"], false);
    assert_ne!(task["id"], "mine");
}

#[tokio::test]
async fn a_due_date_is_carried_and_normalised_to_utc() {
    let app = shared();
    let user = app.user();
    let task = user.create_due("Pay rent", "2027-01-31T23:30:00+02:00").await;
    assert_eq!(instant(&task["due_date"]), instant(&json!("2027-01-31T21:30:00Z")));
    assert_eq!(user.read(&id(&task)).await, task);
}

#[tokio::test]
async fn a_due_date_that_is_not_rfc_3339_is_refused() {
    let app = shared();
    let user = app.user();
    for due_date in
        [json!("tomorrow"), json!("2027-01-31"), json!("2027-01-31T10:00:00"), json!(1_800_000_000)]
    {
        user.post_task(&json!({"title": "A", "due_date": due_date})).await.invalid("due_date");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let app = shared();
    let user = app.user();
    for body in ["", "{", "[]", "\"title\"", "null", "{\"title\": \"A\"} x"] {
        let request = user.request(Method::POST, TASKS).header("content-type", "application/json").body(body);
        Answer::to(request).await.error(400, "VALIDATION_ERROR", "Invalid input data");
    }
}

#[tokio::test]
async fn a_body_of_another_content_type_is_refused() {
    let app = shared();
    let user = app.user();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let request = user.request(Method::POST, TASKS).header("content-type", content_type);
        let answer = Answer::to(request.body(r#"{"title": "A"}"#)).await;
        answer.error(400, "VALIDATION_ERROR", "Invalid input data");
    }
}

#[tokio::test]
async fn the_content_type_may_carry_a_charset() {
    let app = shared();
    let request = app.user().request(Method::POST, TASKS);
    let request = request.header("content-type", "application/json; charset=utf-8");
    Answer::to(request.body(r#"{"title": "A"}"#)).await.task(201);
}

#[tokio::test]
async fn an_empty_list_counts_nothing() {
    let body = shared().user().get(TASKS).await.ok(200);
    assert_eq!(body, json!({"tasks": [], "count": 0}));
}

#[tokio::test]
async fn the_list_has_the_newest_task_first() {
    let app = shared();
    let user = app.user();
    let mut created = Vec::new();
    for number in 0..5 {
        created.push(user.create(&format!("Task {number}")).await);
    }
    user.update(&id(&created[1]), &json!({"title": "Changed later"})).await;
    created[1] = user.read(&id(&created[1])).await;
    created.reverse();
    assert_eq!(user.list().await, created);
}

/// The database writes the list, and a component the single task.
#[tokio::test]
async fn a_task_in_the_list_is_written_as_it_is_alone() {
    let app = shared();
    let user = app.user();
    let titles = [
        "\"quoted\" \\ \u{8}\u{c}\t\n\r\u{1}\u{1f}\u{7f} /</script>",
        "é 漢字 🦀 \u{2028}\u{feff}x",
        "},{\"id\":",
    ];
    let due_dates = [
        "0000-01-01T00:00:00Z",
        "0000-02-29T23:59:59.5Z",
        "0001-01-01T00:00:00.000001Z",
        "1969-12-31T23:59:59.999999Z",
        "2026-12-01T10:00:00.000Z",
        "2026-12-01T10:00:00.120Z",
        "2026-12-01T10:00:00.100010+05:30",
        "9999-12-31T23:59:59.999999Z",
    ];
    let tasks = titles.map(|title| json!({"title": title})).into_iter();
    let tasks = tasks.chain(due_dates.map(|due_date| json!({"title": "Due", "due_date": due_date})));
    let mut alone = Vec::new();
    for task in tasks {
        let created = user.post_task(&task).await;
        let id = id(&created.task(201));
        let read = user.get(&format!("{TASKS}/{id}")).await;
        assert_eq!(read.text(), created.text());
        // Every other one is done.
        let done = alone.len() % 2 == 0;
        alone.push(if done { user.call(Route::Complete, &id).await.text() } else { read.text() });
    }
    alone.reverse();
    let list = user.get(TASKS).await;
    assert_eq!(list.text(), format!(r#"{{"tasks":[{}],"count":{}}}"#, alone.join(","), alone.len()));
    list.ok(200);
}

#[tokio::test]
async fn the_list_has_only_the_users_own_tasks() {
    let app = shared();
    let (one, other) = (app.user(), app.user());
    one.create("Mine").await;
    assert_eq!(other.list().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_list_can_be_filtered_by_completed() {
    let app = shared();
    let user = app.user();
    let (open, done) = (user.create("Open").await, user.create("Done").await);
    let done = user.task_after(Route::Complete, &id(&done)).await;
    assert_eq!(user.listed("?completed=true").await, [done]);
    assert_eq!(user.listed("?completed=false").await, [open]);
    assert_eq!(user.list().await.len(), 2);
}

#[tokio::test]
async fn another_value_of_the_filter_is_refused() {
    let app = shared();
    let user = app.user();
    for value in ["yes", "1", "TRUE", "", "null"] {
        user.get(&format!("{TASKS}?completed={value}")).await.invalid("completed");
    }
}

#[tokio::test]
async fn a_filter_that_is_there_twice_is_refused() {
    let app = shared();
    let user = app.user();
    for query in
        ["completed=true&completed=false", "completed=true&completed=true", "completed=&a=b&completed"]
    {
        let message = user.get(&format!("{TASKS}?{query}")).await.invalid("completed");
        assert_eq!(message, "Must be there only once", "{query}");
    }
    user.listed("?completed=true&other=1&other=2").await;
}
