//! Many secrets in one folder, that come and go: what the families share that are about folders.

use super::material::Material;
use super::mix::Mix;
use super::repeats::Repeats;
use super::subject::{Wish, creation, entry, perhaps_keyed};
use super::walks::Walks;
use crate::client::request::Request;
use crate::history::answer::{Answer, Code};
use crate::history::call::{Call, OnSecret, ReadSecret, UpdateSecret};
use crate::history::ids::{FolderId, SecretId};
use crate::history::op::Outcome;

/// The secrets of a folder, as far as answers have told.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Where choices and unique things come from.
    pub material: Material,
    mix: Mix,
    folder: FolderId,
    known: Vec<SecretId>,
    /// Creations that somebody has asked for and has no answer to.
    creating: usize,
    walks: Walks,
    repeats: Repeats,
}

impl Crowd {
    /// An empty folder, whose pages are to have so many secrets, at least and at most.
    #[must_use]
    pub fn new(material: Material, mix: Mix, folder: FolderId, page_size: (u64, u64)) -> Self {
        let (walks, repeats) = (Walks::new(page_size), Repeats::default());
        Self { material, mix, folder, known: Vec::new(), creating: 0, walks, repeats }
    }

    /// How many secrets there are, or will be.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.known.len() + self.creating
    }

    /// Something to ask again, if this turn is for that.
    pub fn repeat(&mut self) -> Option<Request> {
        let request = self.repeats.next(&mut self.material.random)?;
        self.creating += usize::from(matches!(request.call(), Call::CreateSecret(_)));
        Some(request)
    }

    /// A creation. Its version tells, in a page of the list, who made the secret when nobody was
    /// answered.
    pub fn create(&mut self) -> Request {
        self.creating += 1;
        let entries = vec![entry(&mut self.material, "key")];
        let wish = Wish { folder: Some(self.folder.clone()), entries, ..Wish::default() };
        let names = (self.material.name(), self.material.name());
        let request = creation(names, wish);
        perhaps_keyed(&mut self.material, &self.mix, request)
    }

    /// The deletion of one of them.
    pub fn delete(&mut self) -> Option<Request> {
        let secret = self.some_secret()?;
        let call = Call::DeleteSecret(OnSecret { secret, if_version: None });
        Some(perhaps_keyed(&mut self.material, &self.mix, Request::new(call)))
    }

    /// Another name for one of them.
    pub fn rename(&mut self) -> Option<Request> {
        let secret = self.some_secret()?;
        let call = Call::UpdateSecret(UpdateSecret {
            secret,
            name: Some(self.material.name()),
            description: None,
            labels: None,
            deletion_protection: None,
            if_version: None,
        });
        Some(perhaps_keyed(&mut self.material, &self.mix, Request::new(call)))
    }

    /// A read of one of them.
    pub fn get(&mut self) -> Option<Request> {
        let secret = self.some_secret()?;
        Some(Request::new(Call::GetSecret(ReadSecret { secret })))
    }

    /// A page of the list of all of them.
    pub fn page(&mut self) -> Option<Request> {
        self.walks.next(&mut self.material, &self.folder)
    }

    fn some_secret(&mut self) -> Option<SecretId> {
        self.material.random.pick(&self.known).cloned()
    }

    /// Learns from an answer.
    pub fn observe(&mut self, request: &Request, outcome: &Outcome) {
        match request.call() {
            Call::ListSecrets(asked) => self.walks.observe(asked, outcome),
            Call::CreateSecret(_) => self.creating = self.creating.saturating_sub(1),
            _ => {}
        }
        self.repeats.observe(request, outcome, &mut self.material.random);
        let Outcome::Ok(reply) = outcome else { return };
        match (&reply.answer, request.call()) {
            (Answer::Secret(view), Call::CreateSecret(_)) => self.hear_of(&view.id),
            (Answer::Secret(view), Call::DeleteSecret(_)) => self.forget(&view.id),
            // Those too whose creation nobody was answered: they would stay for ever.
            (Answer::Secrets(page), _) => {
                page.secrets.iter().for_each(|view| self.hear_of(&view.id));
            }
            (Answer::Refused(refusal), call) if refusal.code == Code::NotFound => {
                if let Some(secret) = call.secret() {
                    self.forget(secret);
                }
            }
            _ => {}
        }
    }

    fn hear_of(&mut self, secret: &SecretId) {
        if !self.known.contains(secret) {
            self.known.push(secret.clone());
        }
    }

    fn forget(&mut self, secret: &SecretId) {
        self.known.retain(|known| known != secret);
    }
}
