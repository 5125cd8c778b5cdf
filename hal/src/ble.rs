//! Bluetooth Low Energy straps through BlueZ.
