"""What schemathesis makes of labeling configs and task data: it reads this file by ``SCHEMATHESIS_HOOKS``."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from tests.security.strategies import labeling_configs, media

schemathesis.openapi.format("labeling-config", st.one_of(labeling_configs(), st.text(max_size=200)))
texts = media().filter(lambda value: isinstance(value, str))
schemathesis.openapi.format("media", texts)
