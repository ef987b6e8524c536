//! What was said: committer, tree, seals, proofs, storage, evidence.
