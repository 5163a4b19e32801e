"""The training room: settings, the Stackelberg POMDP, policies, checkpoints. Untrusted; the only user of torch."""
