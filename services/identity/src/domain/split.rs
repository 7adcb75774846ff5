//! What a split asks for: evidence that leaves a customer together.

use std::collections::BTreeSet;

use kernel::{EvidenceId, Violations};

/// Checks what shall leave a customer that consists of `members`: the moved set, sorted, and the
/// rest.
///
/// # Errors
/// Evidence that is not the customer's, named twice, or all of it.
pub(crate) fn sides(
    members: &BTreeSet<EvidenceId>,
    moved: &[EvidenceId],
) -> Result<(Vec<EvidenceId>, Vec<EvidenceId>), Violations> {
    let mut violations = Violations::new();
    let mut leaving = BTreeSet::new();
    for (index, id) in moved.iter().enumerate() {
        let field = format!("evidence_ids[{index}]");
        if !members.contains(id) {
            violations.add(field, "must be evidence of the customer");
        } else if !leaving.insert(*id) {
            violations.add(field, "is named twice");
        }
    }
    if violations.is_empty() && leaving.len() == members.len() {
        violations.add("evidence_ids", "must not be all evidence of the customer");
    }
    let staying = members.difference(&leaving).copied().collect();
    violations.into_result((leaving.into_iter().collect(), staying))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_piece_that_cannot_leave_is_named() {
        let id = |number| EvidenceId::new(Uuid::from_u128(number));
        let members = BTreeSet::from([id(1), id(2), id(3)]);
        assert_eq!(sides(&members, &[id(3)]), Ok((vec![id(3)], vec![id(1), id(2)])));
        let fields = |moved: &[EvidenceId]| -> Vec<String> {
            let violations = sides(&members, moved).unwrap_err();
            violations.into_iter().map(|violation| violation.field).collect()
        };
        assert_eq!(fields(&[id(1), id(9), id(1)]), ["evidence_ids[1]", "evidence_ids[2]"]);
        assert_eq!(fields(&[id(1), id(2), id(3)]), ["evidence_ids"]);
    }
}
