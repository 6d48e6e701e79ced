"""On whose behalf something is asked for."""

import attrs

from sigil_actors.core.capability import CapabilitySet


@attrs.frozen(kw_only=True, eq=False)
class Caller:
    """Who calls, as the embedding application vouches for it."""

    workspace_id: str
    workspace_allow: CapabilitySet
    """What the workspace grants. Empty: nothing."""
    user_id: str
    user_permissions: CapabilitySet
    """What the user may do. Empty: nothing."""
    session_id: str
    actor: str
    """Who stands behind the call in the audit log."""
