"""The attacks, by area; importing this registers all of them."""

from . import (
    files as files,
)
from . import (
    namespaces as namespaces,
)
from . import (
    network as network,
)
from . import (
    processes as processes,
)
from . import (
    proxy as proxy,
)
from . import (
    resources as resources,
)
from . import (
    secrets_of_the_host as secrets_of_the_host,
)
from . import (
    syscalls as syscalls,
)
