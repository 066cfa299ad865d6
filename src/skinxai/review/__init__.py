"""The human in the loop: predictions kept, a queue of cases, labels by reviewers."""
