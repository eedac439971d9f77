"""Makes the gRPC stubs of proto/ for this process."""
import atexit
import shutil
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).resolve().parents[2] / "proto"


def load():
    """Puts freshly made stubs on the import path, in a folder that is removed at the end."""
    import grpc_tools
    from grpc_tools import protoc

    out = tempfile.mkdtemp(prefix="trivium-stubs-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    files = [str(path) for path in sorted((PROTO / "trivium").rglob("*.proto"))]
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(arguments + files) != 0:
        sys.exit("stubs: the contract could not be turned into Python")
    sys.path.insert(0, out)
