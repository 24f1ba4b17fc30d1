"""A run as one plain PyTorch script: what it did, bit for bit, without a line of ours.

The script is put together from templates (`templates/`), of which only what the run uses is kept. Before it is handed
out, its data are compared with the run's.
"""

from __future__ import annotations

from truestep.eject.writing import script_of

__all__ = ["script_of"]
