"""Outside a study: a backbone, a task, a prompt tuned on it, what that predicts, and its export."""
