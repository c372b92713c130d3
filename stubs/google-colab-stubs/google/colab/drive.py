"Google Drive as a folder."
import os, pathlib

def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120000, readonly: bool = False) -> None:
    "Make `mountpoint`/MyDrive; what is refused on Colab is refused here"
    if 'COLAB_RELEASE_TAG' not in os.environ or os.environ.get('VERTEX_PRODUCT') == 'COLAB_ENTERPRISE':
        raise NotImplementedError('Mounting drive is unsupported in this environment.')
    p = pathlib.Path(mountpoint).expanduser()
    if ' ' in str(p): raise ValueError('Mountpoint must not contain a space.')
    if p.is_symlink(): raise ValueError('Mountpoint must not be a symlink')
    if (p/'MyDrive').is_dir() and not force_remount:
        print(f'Drive already mounted at {mountpoint}; to attempt to forcibly remount, '
              f'call drive.mount("{mountpoint}", force_remount=True).')
        return
    if not p.parent.is_dir(): raise ValueError('Mountpoint must be in a directory that exists')
    if p.exists() and not p.is_dir(): raise ValueError('Mountpoint must either be a directory or not exist')
    if p.exists() and not (p/'MyDrive').is_dir() and os.listdir(p): raise ValueError('Mountpoint must not already contain files')
    (p/'MyDrive').mkdir(parents=True, exist_ok=True)
    print(f'Mounted at {mountpoint}')

def flush_and_unmount(timeout_ms: int = 24*60*60*1000) -> None:
    "On Colab this pushes what is pending; here everything is on disk already"
    if not pathlib.Path('/content/drive/MyDrive').is_dir(): print('Drive not mounted, so nothing to flush and unmount.')
