"""Runs Open WebUI's own alembic up to one revision: upgrade.py REVISION

To be run with the Python that has Open WebUI. DATABASE_URL names an empty database; DATA_DIR an empty folder.
Nothing is seeded: the tables come out empty but for alembic_version, which holds REVISION.
"""

import os
import pathlib
import sys

# Open WebUI migrates up to its newest head while it is imported, unless it is told not to.
os.environ["ENABLE_DB_MIGRATIONS"] = "false"
os.environ.setdefault("WEBUI_SECRET_KEY", "only-for-an-empty-database")
os.environ.setdefault("OFFLINE_MODE", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VECTOR_DB", "chroma")
# A schema or URL parts of the caller's own environment would win over DATABASE_URL.
for name in ("SCHEMA", "TYPE", "USER", "PASSWORD", "HOST", "PORT", "NAME"):
    os.environ.pop("DATABASE_" + name, None)

import alembic.command
import alembic.config
import open_webui

package = pathlib.Path(open_webui.__file__).parent
config = alembic.config.Config(str(package / "alembic.ini"))
config.set_main_option("script_location", str(package / "migrations"))
alembic.command.upgrade(config, sys.argv[1])
