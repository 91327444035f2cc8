"""The configuration in force, as administrators see it: without secrets."""

import asyncio

from chukei.admin import schemas
from chukei.config import NEEDS_RESTART, Settings, version_of
from chukei.config.in_force import in_force


class ConfigurationDesk:
    """Shows the settings that new requests have. A reload makes another one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def shown(self) -> schemas.Configuration:
        """Return the settings. With many callers that takes long, so it runs in a thread and does not delay streams."""
        return await asyncio.to_thread(self._shown)

    def _shown(self) -> schemas.Configuration:
        settings = self._settings
        found = in_force(settings)
        return schemas.Configuration(
            version=version_of(settings),
            path=settings.path,
            files=sorted(settings.files),
            simulated=settings.simulated,
            notices=list(settings.notices),
            settings=found.tables,
            places=[schemas.SettingPlace(list(each.path), each.place) for each in found.places],
            restart=sorted(f"{section}.{name}" for section, names in NEEDS_RESTART.items() for name in names),
        )
