//! LeaveGroup.

use kafka_compat::protocol::error::ResponseError as Kafka;

use super::{Around, ClassicGroup, Identity, State, Step, refused_join};

/// Who leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// A member id, an instance id, or both.
    pub who: Identity,
}

impl ClassicGroup {
    /// Members leave; each is answered alone, and the others share what they had.
    pub(in crate::group) fn leave(
        &mut self,
        leaving: &[Leaving],
        around: &mut Around<'_>,
    ) -> (Vec<Result<(), Kafka>>, Step) {
        let mut somebody_left = false;
        let answers = leaving.iter().map(|leaving| {
            let left = self.leave_one(&leaving.who, around);
            somebody_left |= left.is_ok();
            left
        });
        let answers = answers.collect();
        let step = if somebody_left && !self.is(State::Empty) {
            self.changed(around)
        } else {
            Step::default()
        };
        (answers, step)
    }

    fn leave_one(&mut self, who: &Identity, around: &mut Around<'_>) -> Result<(), Kafka> {
        let id = match (&who.instance, who.member.is_empty()) {
            // An administrator knows the instance, and not what id it has now.
            (Some(instance), true) => {
                let id = self.instances.get(instance).cloned();
                id.ok_or(Kafka::UnknownMemberId)?
            }
            (None, false) if self.pending_joins.contains(&who.member) => who.member.clone(),
            _ => {
                self.identify(who)?;
                who.member.clone()
            }
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.answer_join(refused_join(Kafka::UnknownMemberId, ""));
        }
        self.remove(&id, around);
        Ok(())
    }
}
