"""`python -m igcl_lightning` is the same program as `igcl`."""

import sys

from igcl_lightning.cli import main

sys.exit(main())
