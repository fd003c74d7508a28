"""The linkLocal cluster: who is its supernode, who are its members."""
