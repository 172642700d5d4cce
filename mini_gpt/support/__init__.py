"""What the chapters use and do not teach: files, downloads, devices, processes,
pictures.
"""
