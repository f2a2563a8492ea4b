//! Accounts that come and go, with a real directory and a real store.

use content::Content;
use daemon::system;
use store::{Delivery, FlagList};

use super::*;

struct Home {
    dir: tempfile::TempDir,
    directory: Directory,
    store: Arc<dyn Mailboxes>,
}

const BOB: &str = "bob@example.org";
const NAME: &str = "bob--example.org";

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("domains = [\"example.org\"]\ndata = {:?}\n", dir.path().display().to_string());
    let config: HomeConfig = toml::from_str(&text).unwrap();
    let directory = databases::open_directory(&config).unwrap();
    let store = open_store(&config, &directory, system::now()).unwrap();
    let home = Home { dir, directory, store };
    home.add(&[]);
    home
}

impl Home {
    fn carry_out(&self, request: &PeopleRequest) -> Result<Value, Refusal> {
        carry_out(&self.directory, &*self.store, request, system::now())
    }

    fn try_to_add(&self, password: &str, restored: Option<&str>) -> Result<Value, Refusal> {
        let (address, password) = (BOB.to_owned(), password.to_owned());
        let restore = restored.map(str::to_owned);
        self.carry_out(&PeopleRequest::AddUser { address, password, restore })
    }

    fn add(&self, restored: &[&str]) -> Value {
        self.try_to_add("correct horse", restored.first().copied()).unwrap()
    }

    fn remove(&self) -> String {
        let done = self.carry_out(&PeopleRequest::RemoveUser { address: BOB.to_owned() }).unwrap();
        done["set_aside"].as_str().unwrap().to_owned()
    }

    fn deliver(&self, subject: &str) {
        let delivery = Delivery {
            item: None,
            mailbox: "INBOX".to_owned(),
            head: store::Head::default(),
            body: Content::from(format!("Subject: {subject}\r\n\r\n").into_bytes()),
            flags: FlagList::default(),
            internal_date: system::now(),
        };
        self.store.deliver_and_wait(NAME, delivery).unwrap();
    }

    fn subjects(&self) -> Vec<String> {
        let reader = self.store.reader(NAME).unwrap();
        let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
        let mut uids = Vec::new();
        reader.each_message(inbox, 1..=u32::MAX, &mut |message| uids.push(message.uid)).unwrap();
        let subject = |uid| {
            let mut octets = Vec::new();
            assert!(reader.read_body(inbox, uid, 0, usize::MAX, &mut octets).unwrap());
            String::from_utf8(octets).unwrap()["Subject: ".len()..].trim_end().to_owned()
        };
        uids.into_iter().map(subject).collect()
    }
}

/// Symptom: who was added under the name of an account that had been removed read its mail. Cause: the mailbox stayed
/// under its name.
#[test]
fn who_gets_the_name_of_a_removed_account_gets_an_empty_mailbox_and_the_old_one_comes_back_when_asked_for() {
    let home = home();
    home.deliver("old");
    let date = home.remove();
    assert!(!home.store.has_account(NAME));
    let listed = home.carry_out(&PeopleRequest::ListRemoved).unwrap();
    assert_eq!((&listed[0]["account"], &listed[0]["set_aside"]), (&json!(NAME), &json!(date)));
    assert!(home.add(&[])["older_mailbox_set_aside"].is_null());
    assert!(home.subjects().is_empty());
    assert!(home.try_to_add("correct horse", Some(NEWEST)).is_err(), "it is there");
    home.deliver("new");
    let second = home.remove();
    assert_eq!(home.add(&[&date])["mailbox_restored"], json!(date));
    assert_eq!(home.subjects(), ["old"]);
    home.remove();
    assert!(home.try_to_add("correct horse", Some(&second)).is_ok());
    assert_eq!(home.subjects(), ["new"]);
    home.remove();
    home.add(&[NEWEST]);
    assert_eq!(home.subjects(), ["new"]);
}

#[test]
fn what_is_not_set_aside_is_not_brought_back_and_no_account_is_made() {
    let home = home();
    home.remove();
    for date in ["2020-01-01T00:00:00Z", "../../x", ""] {
        let (what, _) = home.try_to_add("correct horse", Some(date)).unwrap_err();
        assert!(what.contains("set aside"), "{what}");
    }
    assert!(home.directory.accounts().is_empty() && !home.store.has_account(NAME));
    let (what, _) = home.try_to_add("short", Some(NEWEST)).unwrap_err();
    assert!(what.contains("shorter"), "{what}");
    assert_eq!(home.carry_out(&PeopleRequest::ListRemoved).unwrap().as_array().unwrap().len(), 1);
}

/// Versions before left the mailbox under its name, and kept no record of the removal.
#[test]
fn what_an_older_version_left_under_a_name_is_set_aside_before_the_next_of_that_name() {
    for restored in [&[][..], &[NEWEST]] {
        let home = home();
        home.deliver("old");
        home.directory.remove_account(&parse(BOB).unwrap(), UnixTime(0)).unwrap();
        assert!(home.store.has_account(NAME));
        let before = system::now();
        let done = home.add(restored);
        assert_eq!(done["older_mailbox_set_aside"].is_string(), restored.is_empty(), "{done}");
        assert_eq!(home.subjects().is_empty(), restored.is_empty());
        assert_eq!(home.directory.was_anothers(NAME, before), restored.is_empty());
    }
}

#[test]
fn a_mailbox_that_can_not_be_set_aside_is_nobodys_all_the_same() {
    let home = home();
    home.deliver("old");
    let place = home.dir.path().join("mailboxes/set-aside");
    std::fs::write(&place, "in the way").unwrap();
    let (what, _) = home.carry_out(&PeopleRequest::RemoveUser { address: BOB.to_owned() }).unwrap_err();
    assert!(what.contains("is removed"), "{what}");
    assert!(home.try_to_add("correct horse", None).is_err());
    assert!(home.directory.accounts().is_empty());
    std::fs::remove_file(&place).unwrap();
    assert!(home.add(&[])["older_mailbox_set_aside"].is_string());
    assert!(home.subjects().is_empty());
}
