"""The training room: settings, the Stackelberg POMDP, policies, checkpoints. Untrusted; only torch user."""
